//! What the edge counts. Names are those of the architecture document; no user labels.
//!
//! Invariant: counting a request takes no lock: every counter it needs is resolved at start.

use domain::contract::problem::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use service::telemetry::{latency_buckets, size_buckets};

/// Label of answers to a buy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// `ACCEPTED`, `REPLAYED`, or the problem's code.
    pub code: &'static str,
}

/// Label of batch sizes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// `reserve` or `publish`.
    pub stage: &'static str,
}

/// Label of held orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// paid or cancelled.
    pub status: &'static str,
}

/// Every metric; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    accepted: Counter,
    replayed: Counter,
    /// By `Code as usize`.
    refused: Vec<Counter>,
    /// `flashsale_buy_seconds`
    pub buy_seconds: Histogram,
    /// `flashsale_batch_orders{stage="reserve"}`
    pub reserve_batch: Histogram,
    /// `flashsale_batch_orders{stage="publish"}`
    pub publish_batch: Histogram,
    /// `flashsale_resolved_orders_total{status="paid"}`
    pub orders_paid: Counter,
    /// `flashsale_resolved_orders_total{status="cancelled"}`
    pub orders_cancelled: Counter,
    /// `flashsale_ws_clients`
    pub ws_clients: Gauge,
    /// `flashsale_ws_frames_skipped_total`
    pub ws_frames_skipped: Counter,
}

impl Metrics {
    /// Creates every metric and registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let answers: Family<CodeLabel, Counter> = Family::default();
        let batches: Family<StageLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(size_buckets()));
        let answer = |code| answers.get_or_create(&CodeLabel { code }).clone();
        let batch = |stage| batches.get_or_create(&StageLabel { stage }).clone();
        let resolved: Family<StatusLabel, Counter> = Family::default();
        let orders = |status| resolved.get_or_create(&StatusLabel { status }).clone();
        let metrics = Self {
            accepted: answer("ACCEPTED"),
            replayed: answer("REPLAYED"),
            refused: Code::ALL.iter().map(|code| answer(code.as_str())).collect(),
            buy_seconds: Histogram::new(latency_buckets()),
            reserve_batch: batch("reserve"),
            publish_batch: batch("publish"),
            orders_paid: orders("paid"),
            orders_cancelled: orders("cancelled"),
            ws_clients: Gauge::default(),
            ws_frames_skipped: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("flashsale");
        registry.register("buy_requests", "Answers to a buy, by code", answers);
        registry.register("buy_seconds", "Time to answer a buy", metrics.buy_seconds.clone());
        registry.register("batch_orders", "Requests or orders in a batch", batches);
        registry.register("resolved_orders", "Held orders resolved, by outcome", resolved);
        registry.register("ws_clients", "Open WebSockets", metrics.ws_clients.clone());
        registry.register(
            "ws_frames_skipped",
            "Stock frames a slow client was spared",
            metrics.ws_frames_skipped.clone(),
        );
        metrics
    }

    /// Counts a 202 with a new reservation.
    pub fn count_accepted(&self) {
        self.accepted.inc();
    }

    /// Counts a 202 that repeats an earlier one.
    pub fn count_replayed(&self) {
        self.replayed.inc();
    }

    /// Counts a refusal.
    pub fn count_refused(&self, code: Code) {
        if let Some(counter) = self.refused.get(code as usize) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_counter() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.count_accepted();
        for code in Code::ALL {
            metrics.count_refused(*code);
        }
        let text = service::telemetry::encode_metrics(&registry);
        for code in Code::ALL {
            let line = format!("flashsale_buy_requests_total{{code=\"{}\"}} 1", code.as_str());
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
}
