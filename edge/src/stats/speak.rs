//! What this edge says of itself, once a second: to its own viewers, and to every other edge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::contract::keys;
use domain::contract::stats::{Contribution, EdgeFigures, Figures, VERSION};
use service::readiness::Readiness;
use service::redis_pool::RedisPool;
use service::speaker::speak;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Stats;
use crate::metrics::Metrics;
use crate::reserve::{RedisClock, system_ms};

/// Speaks for this edge.
#[derive(Debug)]
pub struct Speaker {
    /// How viewers know this edge.
    pub name: String,
    /// Where it is said, and shown.
    pub stats: Stats,
    /// Where it is published.
    pub redis: RedisPool,
    /// What was counted.
    pub metrics: Metrics,
    /// Whether this edge can serve.
    pub readiness: Readiness,
    /// Open connections.
    pub connections: TaskTracker,
    /// Redis time.
    pub clock: Arc<RedisClock>,
}

impl Speaker {
    /// Speaks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (started, started_ms) = (Instant::now(), system_ms());
        let say = |now: Instant| {
            let contribution = self.contribution(started_ms, now - started);
            let payload = contribution.to_json();
            self.stats.take_own(contribution, now);
            self.stats.show(self.clock.now_ms(now), now);
            payload
        };
        speak(&self.redis, keys::STATS_CHANNEL, say, &stop).await;
    }

    fn contribution(&self, started_ms: i64, uptime: Duration) -> Contribution {
        Contribution {
            v: VERSION,
            name: self.name.clone(),
            started_ms,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            ready: self.readiness.is_ready(),
            figures: Figures::Edge(EdgeFigures {
                connections: self.connections.len() as u64,
                ws_clients: u64::try_from(self.metrics.ws_clients.get()).unwrap_or(0),
                answers: self.metrics.answers(),
                latency: self.metrics.latency(),
            }),
        }
    }
}
