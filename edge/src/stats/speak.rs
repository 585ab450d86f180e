//! What this edge says of itself, once a second: to its own viewers, and to every other edge.
//!
//! Invariant: a Redis that is away, or slow, delays nothing but what the others hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::contract::keys;
use domain::contract::stats::{Contribution, EdgeFigures, Figures, VERSION};
use service::readiness::Readiness;
use service::redis_pool::RedisPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Stats;
use crate::metrics::Metrics;
use crate::reserve::{RedisClock, system_ms};

/// A wall is looked at by people; more often would only cost more.
const PERIOD: Duration = Duration::from_secs(1);

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
        let started = Instant::now();
        let started_ms = system_ms();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once, when there is nothing to say.
        ticks.tick().await;
        // Which node of a cluster is told: another one after each that did not answer.
        let mut turn = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let now = Instant::now();
            let contribution = self.contribution(started_ms, now - started);
            let payload = contribution.to_json();
            self.stats.take_own(contribution, now);
            self.stats.show(self.clock.now_ms(now), now);
            let published = tokio::select! {
                published = self.redis.publish(turn, keys::STATS_CHANNEL, &payload) => published,
                () = stop.cancelled() => return,
            };
            if let Err(error) = published {
                // The feed says that Redis is away.
                tracing::debug!(%error, "the others did not hear of this edge");
                turn += 1;
            }
        }
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
