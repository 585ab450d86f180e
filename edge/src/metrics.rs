//! What the edge counts. Names are those of the architecture document; no user labels.
//!
//! Invariant: counting a request takes no lock: every counter it needs is resolved at start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::contract::problem::Code;
use domain::contract::stats::{Answers, LATENCY_BOUNDS_US, LATENCY_BUCKETS, LatencyCounts};
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
    buy_seconds: Histogram,
    /// The same for the stats: the histogram's own counts cannot be read.
    latency: Arc<[AtomicU64; LATENCY_BUCKETS]>,
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
            latency: Arc::new([const { AtomicU64::new(0) }; LATENCY_BUCKETS]),
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

    /// Counts how long an answer to a buy took.
    pub fn observe_buy(&self, elapsed: Duration) {
        self.buy_seconds.observe(elapsed.as_secs_f64());
        self.latency[bucket_of(elapsed)].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers to a buy since the start.
    pub fn answers(&self) -> Answers {
        let mut answers = Answers {
            accepted: self.accepted.get(),
            replayed: self.replayed.get(),
            ..Answers::default()
        };
        for (code, counter) in Code::ALL.iter().zip(&self.refused) {
            let sum = match code {
                Code::SoldOut => &mut answers.sold_out,
                code if code.status() >= 500 => &mut answers.failed,
                _ => &mut answers.refused,
            };
            *sum += counter.get();
        }
        answers
    }

    /// The same answers by how long they took.
    pub fn latency(&self) -> LatencyCounts {
        std::array::from_fn(|bucket| self.latency[bucket].load(Ordering::Relaxed))
    }
}

/// The first bucket whose bound is not below.
fn bucket_of(elapsed: Duration) -> usize {
    LATENCY_BOUNDS_US.partition_point(|bound| u128::from(*bound) < elapsed.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_were_counted() {
        let metrics = Metrics::register(&mut Registry::default());
        metrics.count_accepted();
        metrics.count_replayed();
        for code in [Code::SoldOut, Code::SoldOut, Code::NotEnough, Code::UnknownProduct] {
            metrics.count_refused(code);
        }
        for code in [Code::Unavailable, Code::OutcomeUnknown, Code::OutcomeUnknown] {
            metrics.count_refused(code);
        }
        let expected = Answers { accepted: 1, replayed: 1, sold_out: 2, refused: 2, failed: 3 };
        assert_eq!(metrics.answers(), expected);
    }

    #[test]
    fn an_answer_is_counted_in_the_bucket_that_ends_at_or_after_it() {
        let metrics = Metrics::register(&mut Registry::default());
        for us in [0, 250, 251, 8_000_000, 8_000_001] {
            metrics.observe_buy(Duration::from_micros(us));
        }
        let counts = metrics.latency();
        let last = LATENCY_BUCKETS - 1;
        assert_eq!((counts[0], counts[1], counts[last - 1], counts[last]), (2, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 5);
    }

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
