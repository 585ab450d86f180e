//! What this settler says of itself once a second, to whoever views the stats of any edge.
//!
//! Owns nothing: what it says is what the relay, the reconciler and the gatekeeper exported last.
//! Invariant: it asks neither PostgreSQL nor RabbitMQ, and nobody waits for it.

use std::time::{Duration, Instant};

use domain::contract::stats::{
    Contribution, Figures, LeaderFigures, SettlerFigures, VERSION, choose_products,
};
use domain::contract::{keys, topology};
use service::readiness::Readiness;
use service::redis_pool::RedisPool;
use service::speaker::speak;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gatekeeper::Leading;
use crate::metrics::Metrics;
use crate::reconcile::now_ms;

/// Speaks for this settler.
pub struct Speaker {
    /// How viewers know this settler.
    pub name: String,
    /// Where it is published.
    pub redis: RedisPool,
    /// What was counted and seen.
    pub metrics: Metrics,
    /// Whether this settler can work.
    pub readiness: Readiness,
    /// Whether it leads, and what is on sale.
    pub leading: watch::Receiver<Leading>,
}

impl Speaker {
    /// Speaks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (started, started_ms) = (Instant::now(), now_ms());
        let say = |now: Instant| self.contribution(started_ms, now - started).to_json();
        speak(&self.redis, keys::STATS_CHANNEL, say, &stop).await;
    }

    fn contribution(&self, started_ms: i64, uptime: Duration) -> Contribution {
        let leading = self.leading.borrow().clone();
        Contribution {
            v: VERSION,
            name: self.name.clone(),
            started_ms,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            ready: self.readiness.is_ready(),
            figures: Figures::Settler(SettlerFigures {
                leader: leading.leads.then(|| self.leader(&leading)),
                ..self.metrics.counted()
            }),
        }
    }

    fn leader(&self, leading: &Leading) -> LeaderFigures {
        let products = leading.products.iter().map(|product| self.metrics.product(*product));
        LeaderFigures {
            queue_messages: self.metrics.books.messages_in(topology::QUEUE),
            dead_letters: self.metrics.books.messages_in(topology::DEAD_QUEUE),
            products: choose_products(products.collect()),
        }
    }
}
