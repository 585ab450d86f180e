//! What the edge counts. Names are those of the architecture document; no user labels.
//!
//! Invariant: a label's values are words of our own, so the number of series is bounded.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use service::telemetry::{latency_buckets, size_buckets};

/// Label of a count of buy requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// Label of a histogram by stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

/// Every metric; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    buy_requests: Family<CodeLabel, Counter>,
    buy_seconds: Histogram,
    /// `flashsale_batch_orders{stage="reserve"}`
    pub reserve_orders: Histogram,
    /// `flashsale_batch_orders{stage="publish"}`
    pub publish_orders: Histogram,
    /// `flashsale_ws_clients`
    pub ws_clients: Gauge,
    /// `flashsale_ws_frames_skipped_total`
    pub ws_frames_skipped: Counter,
}

impl Metrics {
    /// Creates every metric and registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let batch_orders: Family<StageLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(size_buckets()));
        let stage = |stage| batch_orders.get_or_create_owned(&StageLabel { stage });
        let metrics = Self {
            buy_requests: Family::default(),
            buy_seconds: Histogram::new(latency_buckets()),
            reserve_orders: stage("reserve"),
            publish_orders: stage("publish"),
            ws_clients: Gauge::default(),
            ws_frames_skipped: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("flashsale");
        registry.register(
            "buy_requests",
            "Answers to POST /api/buy, by code",
            metrics.buy_requests.clone(),
        );
        registry.register(
            "buy_seconds",
            "Time from a read buy request to its answer",
            metrics.buy_seconds.clone(),
        );
        registry.register("batch_orders", "Orders in a batch", batch_orders.clone());
        registry.register("ws_clients", "Open WebSockets", metrics.ws_clients.clone());
        registry.register(
            "ws_frames_skipped",
            "Stock changes slow clients did not see",
            metrics.ws_frames_skipped.clone(),
        );
        metrics
    }

    /// Counts one answer to a buyer.
    pub fn count_buy(&self, code: &'static str, took: Duration) {
        self.buy_requests.get_or_create(&CodeLabel { code }).inc();
        self.buy_seconds.observe(took.as_secs_f64());
    }
}
