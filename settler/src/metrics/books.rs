//! What the reconciler found, as gauges. A settler that does not lead exports none.

use domain::contract::reconcile::ReconcileView;
use domain::contract::stats::ProductFigures;
use domain::contract::topology;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ProductLabel;

/// Invariants measured in units.
const IN_UNITS: [&str; 2] = ["I1", "I4"];

/// Label of drifting units.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvariantLabel {
    /// Product id.
    product: i64,
    /// `I1` or `I4`.
    invariant: &'static str,
}

/// Label of a queue's depth.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    /// The queue's name.
    queue: &'static str,
}

/// The gauges; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// `flashsale_drift_units{product,invariant}`
    drift_units: Family<InvariantLabel, Gauge>,
    /// `flashsale_oversold_units{product}`
    oversold_units: Family<ProductLabel, Gauge>,
    /// `flashsale_over_limit_buyers{product}`
    over_limit_buyers: Family<ProductLabel, Gauge>,
    /// `flashsale_open_units{product}`
    open_units: Family<ProductLabel, Gauge>,
    /// `flashsale_queue_messages{queue}`
    queue_messages: Family<QueueLabel, Gauge>,
}

impl Books {
    /// Registers every gauge.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "drift_units",
            "Units that do not add up, by invariant; anything but 0 is an alarm",
            self.drift_units.clone(),
        );
        registry.register(
            "oversold_units",
            "Units owned by orders beyond the units there are",
            self.oversold_units.clone(),
        );
        registry.register(
            "over_limit_buyers",
            "Buyers who hold more units than one buyer may",
            self.over_limit_buyers.clone(),
        );
        registry.register(
            "open_units",
            "Units reserved in Redis and not settled yet",
            self.open_units.clone(),
        );
        registry.register(
            "queue_messages",
            "Messages that wait for a consumer, by queue",
            self.queue_messages.clone(),
        );
    }

    /// Exports one look.
    pub fn export(&self, view: &ReconcileView) {
        for books in &view.products {
            let product = books.product_id;
            let label = ProductLabel { product };
            let amount = |name: &str| {
                let findings = books.findings.iter().filter(|f| f.invariant == name);
                findings.map(|finding| finding.amount).sum::<i64>()
            };
            for invariant in IN_UNITS {
                let label = InvariantLabel { product, invariant };
                self.drift_units.get_or_create(&label).set(amount(invariant));
            }
            let oversold = (books.holding - books.total).max(0);
            self.oversold_units.get_or_create(&label).set(oversold);
            self.over_limit_buyers.get_or_create(&label).set(amount("I5"));
            if let Some(open) = books.open {
                self.open_units.get_or_create(&label).set(open);
            }
        }
        let depths = [(topology::QUEUE, view.queue), (topology::DEAD_QUEUE, view.dead_letters)];
        for (queue, depth) in depths {
            if let Some(depth) = depth {
                self.queue_messages.get_or_create(&QueueLabel { queue }).set(i64::from(depth));
            }
        }
    }

    /// Messages that waited in a queue at the last look.
    pub fn messages_in(&self, queue: &'static str) -> Option<i64> {
        self.queue_messages.get(&QueueLabel { queue }).map(|depth| depth.get())
    }

    /// Adds what the last look found of a product.
    pub(super) fn describe(&self, figures: &mut ProductFigures) {
        let product = figures.product_id;
        let label = ProductLabel { product };
        let drift = |invariant| {
            let label = InvariantLabel { product, invariant };
            self.drift_units.get(&label).map(|units| units.get().saturating_abs())
        };
        figures.open_units = self.open_units.get(&label).map(|units| units.get());
        figures.oversold_units = self.oversold_units.get(&label).map(|units| units.get());
        // A unit that is missing on one side and one too many on the other are two that drift.
        figures.drift_units = IN_UNITS.into_iter().map(drift).sum();
    }

    /// Who leads looks; what another settler once saw would only mislead.
    pub fn forget(&self) {
        self.drift_units.clear();
        self.oversold_units.clear();
        self.over_limit_buyers.clear();
        self.open_units.clear();
        self.queue_messages.clear();
    }
}
