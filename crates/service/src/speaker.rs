//! What a process says of itself over Redis Pub/Sub, once a second.
//!
//! Owns when it is said and to which node; leaves the words to the caller.
//! Invariant: a Redis that is away, or slow, delays nothing but what others hear.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::redis_pool::RedisPool;

/// People look at what is said; more often would only cost more.
const PERIOD: Duration = Duration::from_secs(1);

/// Publishes on `channel` what `say` makes of the time, once a second until `stop`. `say` may keep
/// what it says for this process: it is asked whether or not Redis can be reached.
pub async fn speak(
    redis: &RedisPool,
    channel: &str,
    mut say: impl FnMut(Instant) -> Vec<u8>,
    stop: &CancellationToken,
) {
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
        let payload = say(Instant::now());
        let published = tokio::select! {
            published = redis.publish(turn, channel, &payload) => published,
            () = stop.cancelled() => return,
        };
        if let Err(error) = published {
            // Whoever needs Redis for its work says that it is away.
            tracing::debug!(%error, channel, "nobody heard what this process said");
            turn += 1;
        }
    }
}
