//! Which sales are open, and for how long each was closed: metrics and readiness.
//!
//! Owns no decision. Invariant: a sale nobody can look at counts as closed.

use std::collections::HashMap;
use std::time::Instant;

use domain::ProductId;
use service::readiness::Part;

use crate::metrics::{Metrics, ProductLabel};

/// What is known of every sale seen so far.
#[derive(Debug)]
pub(super) struct Gates {
    metrics: Metrics,
    ready: Part,
    /// Since when a sale is closed; `None` while it is open.
    closed_since: HashMap<ProductId, Option<Instant>>,
}

impl Gates {
    pub(super) fn new(metrics: Metrics, ready: Part) -> Self {
        Self { metrics, ready, closed_since: HashMap::new() }
    }

    /// Takes note of every sale there is.
    pub(super) fn note(&mut self, sales: impl Iterator<Item = (ProductId, bool)>, now: Instant) {
        for (product, open) in sales {
            let since = self.closed_since.entry(product).or_default();
            match (open, *since) {
                (true, Some(closed)) => {
                    let seconds = now.saturating_duration_since(closed).as_secs_f64();
                    self.metrics.gate_closed_seconds.observe(seconds);
                    *since = None;
                }
                (false, None) => *since = Some(now),
                _ => {}
            }
            self.export(product, open);
        }
        self.ready.set(self.closed_since.values().all(Option::is_none));
    }

    /// Redis does not answer, or is unfit: nothing can be sold.
    pub(super) fn close_all(&mut self, now: Instant) {
        let products: Vec<_> = self.closed_since.keys().map(|product| (*product, false)).collect();
        self.note(products.into_iter(), now);
        self.ready.set(false);
    }

    fn export(&self, product: ProductId, open: bool) {
        let label = ProductLabel { product: product.get() };
        self.metrics.gate_open.get_or_create(&label).set(i64::from(open));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;
    use service::readiness::Readiness;
    use service::telemetry::encode_metrics;

    use super::*;

    #[test]
    fn the_time_a_sale_was_closed_is_counted_from_the_first_look_to_the_opening() {
        let mut registry = Registry::default();
        let mut readiness = Readiness::default();
        let mut gates = Gates::new(Metrics::register(&mut registry), readiness.part("gate"));
        let (product, start) = (ProductId::new(1).unwrap(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let has = |registry: &Registry, line: &str| encode_metrics(registry).contains(line);

        gates.close_all(at(0));
        assert!(!readiness.is_ready(), "before any sale was seen");
        gates.note([(product, true)].into_iter(), at(100));
        assert!(readiness.is_ready());
        gates.close_all(at(200));
        assert!(!readiness.is_ready() && has(&registry, "flashsale_gate_open{product=\"1\"} 0"));
        gates.note([(product, false)].into_iter(), at(300));
        gates.note([(product, true)].into_iter(), at(700));
        assert!(readiness.is_ready() && has(&registry, "flashsale_gate_open{product=\"1\"} 1"));
        assert!(has(&registry, "flashsale_gate_closed_seconds_sum 0.5\n"));
        assert!(has(&registry, "flashsale_gate_closed_seconds_count 1\n"));
    }
}
