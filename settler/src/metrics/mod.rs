//! What the settler counts. Names are those of the architecture document; no user labels.

mod books;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::ProductId;
use domain::contract::stats::{ProductFigures, SettlerFigures};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use service::telemetry::{latency_buckets, size_buckets};

pub use books::Books;

/// What becomes of an order that was taken from the queue.
const STATUSES: [&str; 5] = ["confirmed", "held", "rejected", "replayed", "dead"];
/// How an order ends that a settler resolves; the others are resolved by edges.
const EXPIRED: &str = "expired";

/// Label of a count by order status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// confirmed, held, rejected, replayed or dead; of a resolved order: expired.
    pub status: &'static str,
}

/// Label of a gauge by product.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProductLabel {
    /// Product id.
    pub product: i64,
}

/// Label of a histogram by stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// `settle`.
    pub stage: &'static str,
}

/// Every metric; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `flashsale_settled_orders_total{status}`
    pub settled_orders: Family<StatusLabel, Counter>,
    /// `flashsale_resolved_orders_total{status}`
    pub resolved_orders: Family<StatusLabel, Counter>,
    /// `flashsale_settle_seconds`
    pub settle_seconds: Histogram,
    /// `flashsale_batch_orders{stage="settle"}`
    pub batch_orders: Family<StageLabel, Histogram>,
    /// `flashsale_gate_open{product}`
    pub gate_open: Family<ProductLabel, Gauge>,
    /// `flashsale_gate_closed_seconds`
    pub gate_closed_seconds: Histogram,
    /// `flashsale_outbox_depth{product}`
    pub outbox_depth: Family<ProductLabel, Gauge>,
    /// `flashsale_outbox_oldest_seconds{product}`
    pub outbox_oldest_seconds: Family<ProductLabel, Gauge<f64, AtomicU64>>,
    /// What the reconciler found.
    pub books: Books,
}

impl Metrics {
    /// Creates every metric and registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            settled_orders: Family::default(),
            resolved_orders: Family::default(),
            settle_seconds: Histogram::new(latency_buckets()),
            batch_orders: Family::new_with_constructor(|| Histogram::new(size_buckets())),
            gate_open: Family::default(),
            gate_closed_seconds: Histogram::new(latency_buckets()),
            outbox_depth: Family::default(),
            outbox_oldest_seconds: Family::default(),
            books: Books::default(),
        };
        for status in STATUSES {
            // From zero: the first of a kind is an increase, too.
            drop(metrics.settled_orders.get_or_create(&StatusLabel { status }));
        }
        drop(metrics.resolved_orders.get_or_create(&StatusLabel { status: EXPIRED }));
        let registry = registry.sub_registry_with_prefix("flashsale");
        registry.register(
            "settled_orders",
            "Orders taken from the queue, by outcome",
            metrics.settled_orders.clone(),
        );
        registry.register(
            "resolved_orders",
            "Held orders resolved, by outcome",
            metrics.resolved_orders.clone(),
        );
        registry.register(
            "settle_seconds",
            "Time of one settling transaction",
            metrics.settle_seconds.clone(),
        );
        registry.register("batch_orders", "Orders in a batch", metrics.batch_orders.clone());
        registry.register(
            "gate_open",
            "1 while the sale's Redis node is vouched for",
            metrics.gate_open.clone(),
        );
        registry.register(
            "gate_closed_seconds",
            "Time from finding a sale closed to opening it",
            metrics.gate_closed_seconds.clone(),
        );
        registry.register(
            "outbox_depth",
            "Micro-batches waiting for the broker's confirm",
            metrics.outbox_depth.clone(),
        );
        registry.register(
            "outbox_oldest_seconds",
            "Age of the oldest of them",
            metrics.outbox_oldest_seconds.clone(),
        );
        metrics.books.register(registry);
        metrics
    }

    /// Orders since the start, as the stats tell them.
    pub fn counted(&self) -> SettlerFigures {
        let settled = |status| self.settled_orders.get_or_create(&StatusLabel { status }).get();
        let rejected = settled("rejected");
        let expired = self.resolved_orders.get_or_create(&StatusLabel { status: EXPIRED }).get();
        SettlerFigures {
            settled: settled("confirmed") + settled("held") + rejected,
            rejected,
            expired,
            leader: None,
        }
    }

    /// What was exported of a product last.
    pub fn product(&self, product: ProductId) -> ProductFigures {
        let label = ProductLabel { product: product.get() };
        let oldest_ms = |seconds: f64| {
            let age = Duration::try_from_secs_f64(seconds).ok()?;
            i64::try_from(age.as_millis()).ok()
        };
        let oldest = self.outbox_oldest_seconds.get(&label).map(|seconds| seconds.get());
        let mut figures = ProductFigures {
            product_id: product.get(),
            gate_open: self.gate_open.get(&label).is_some_and(|open| open.get() == 1),
            outbox_depth: self.outbox_depth.get(&label).map(|depth| depth.get()),
            outbox_oldest_ms: oldest.and_then(oldest_ms),
            ..ProductFigures::default()
        };
        self.books.describe(&mut figures);
        figures
    }

    /// Who leads measures the outbox; what another settler once saw would only mislead.
    pub fn forget_outbox(&self) {
        self.outbox_depth.clear();
        self.outbox_oldest_seconds.clear();
    }

    /// Counts orders that expired.
    pub fn count_expired(&self, orders: usize) {
        let label = StatusLabel { status: EXPIRED };
        self.resolved_orders.get_or_create(&label).inc_by(orders as u64);
    }

    /// Counts orders by outcome.
    pub fn count_settled(&self, status: &'static str, orders: usize) {
        if orders > 0 {
            self.settled_orders.get_or_create(&StatusLabel { status }).inc_by(orders as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::contract::reconcile::{Finding, ProductBooks, ReconcileView};

    use super::*;

    /// Books with two findings, and no word of the queues.
    fn view() -> ReconcileView {
        let finding = |invariant, amount| Finding { invariant, amount, detail: "" };
        ReconcileView {
            checked_at: String::new(),
            holds: false,
            queue: None,
            dead_letters: Some(2),
            products: vec![ProductBooks {
                product_id: 1,
                total: 100,
                stock: 0,
                holding: 104,
                available: Some(0),
                open: Some(7),
                outbox: Some(0),
                quiet: false,
                findings: vec![finding("I1", -4), finding("I4", 3)],
            }],
        }
    }

    #[test]
    fn the_stats_tell_what_was_exported_and_nothing_that_was_not() {
        let metrics = Metrics::register(&mut Registry::default());
        let product = ProductId::new(1).unwrap();
        let unknown = ProductFigures { product_id: 1, ..ProductFigures::default() };
        assert_eq!(metrics.product(product), unknown);
        assert_eq!(metrics.books.messages_in("orders"), None);

        let label = ProductLabel { product: 1 };
        metrics.gate_open.get_or_create(&label).set(1);
        metrics.outbox_depth.get_or_create(&label).set(5);
        metrics.outbox_oldest_seconds.get_or_create(&label).set(1.017);
        metrics.books.export(&view());
        let known = ProductFigures {
            product_id: 1,
            gate_open: true,
            outbox_depth: Some(5),
            outbox_oldest_ms: Some(1_017),
            open_units: Some(7),
            oversold_units: Some(4),
            drift_units: Some(7),
        };
        assert_eq!(metrics.product(product), known);
        assert_eq!(metrics.books.messages_in("orders"), None, "the broker did not answer");
        assert_eq!(metrics.books.messages_in("orders.dead"), Some(2));

        metrics.forget_outbox();
        metrics.books.forget();
        assert_eq!(metrics.product(product), ProductFigures { gate_open: true, ..unknown });
    }

    #[test]
    fn orders_are_told_by_outcome_since_the_start() {
        let metrics = Metrics::register(&mut Registry::default());
        for (status, orders) in STATUSES.into_iter().zip([1, 2, 4, 8, 16]) {
            metrics.count_settled(status, orders);
        }
        metrics.count_expired(32);
        let counted = SettlerFigures { settled: 7, rejected: 4, expired: 32, leader: None };
        assert_eq!(metrics.counted(), counted);
    }
}
