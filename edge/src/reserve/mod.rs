//! Reserving units in Redis, in micro-batches of one product each.
//!
//! Owns the call of `reserve.lua`, its retries and Redis time; hands accepted orders to `publish`
//! and leaves HTTP to its callers. Invariant: `Ok` with an accepted reservation is answered only
//! after the broker confirmed it or the outbox alone has to answer for it.

mod batcher;
mod call;
mod clock;
mod pace;
mod retry;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::{ProductId, Quantity, ReservationId, Reserved, UserId};
use redis::Value;
use service::backoff::Backoff;
use service::readiness::Part;
use service::redis_pool::{LoadedScript, RedisCallError, RedisPool};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use call::script;
pub use clock::RedisClock;
pub use pace::Pace;

use crate::metrics::Metrics;
use crate::publish::Publisher;
use batcher::{Batcher, Waiting};

/// Requests of one product that may wait for a call: 64 full batches, well under a second of work.
const INBOX_MAX: usize = 16_384;
/// How often Redis is asked for its time when nobody buys; readiness follows.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// One buyer's wish.
#[derive(Debug, Clone, Copy)]
pub struct ReserveRequest {
    /// A listed product: each gets a task, so unlisted ones must be refused before.
    pub product: ProductId,
    /// Who buys.
    pub user: UserId,
    /// How many units.
    pub quantity: Quantity,
    /// The id that will stand if the script accepts it.
    pub candidate: ReservationId,
}

/// What the script said to one buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub reserved: Reserved,
    /// Units that could still be reserved after the batch.
    pub available: i64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Nothing was reserved.
    #[error("redis is away, the sale is not vouched for, or too many requests wait")]
    Unavailable,
    /// A reservation may stand; the same request again tells.
    #[error("the outcome is not known")]
    OutcomeUnknown,
}

/// Bounds of reserving.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests a call.
    pub batch_max: usize,
    /// Longest wait for more requests.
    pub linger_max: Duration,
    /// Outbox entries beyond which the script refuses.
    pub outbox_max: u32,
    /// Longest from arrival to giving up.
    pub buy_timeout: Duration,
    /// Longest wait for the broker's confirm.
    pub confirm_timeout: Duration,
}

/// What batchers share.
#[derive(Debug)]
pub struct Shared {
    /// Connections.
    pub redis: RedisPool,
    /// `reserve.lua`, loaded on each of them.
    pub script: Arc<LoadedScript>,
    /// Redis time.
    pub clock: RedisClock,
    /// Where accepted orders go.
    pub publisher: Publisher,
    /// What is counted.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: Limits,
    /// Where batchers and waits for confirms run.
    pub tasks: TaskTracker,
}

type Inboxes = HashMap<ProductId, mpsc::Sender<Waiting>>;

/// Reserves. Dropping it lets the batchers finish what waits and end.
#[derive(Debug)]
pub struct Reserver {
    shared: Arc<Shared>,
    inboxes: ArcSwap<Inboxes>,
    /// Held while a product's batcher is started; never on the path of a known product.
    starting: Mutex<()>,
}

impl Reserver {
    /// Starts nothing yet; a product's batcher starts with its first request.
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), inboxes: ArcSwap::default(), starting: Mutex::new(()) }
    }

    /// Redis time.
    pub fn clock(&self) -> &RedisClock {
        &self.shared.clock
    }

    /// Reserves for one buyer.
    ///
    /// Once called, the request runs to its end even if the returned future is dropped.
    ///
    /// # Errors
    /// See [`ReserveError`].
    pub async fn reserve(&self, request: ReserveRequest) -> Result<Answer, ReserveError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            user: request.user,
            quantity: request.quantity,
            candidate: request.candidate,
            arrived: Instant::now(),
            answer,
        };
        let inboxes = self.inboxes.load();
        let sent = match inboxes.get(&request.product) {
            Some(inbox) => inbox.try_send(waiting),
            None => self.start(request.product).try_send(waiting),
        };
        drop(inboxes);
        if sent.is_err() {
            return Err(ReserveError::Unavailable);
        }
        answered.await.unwrap_or(Err(ReserveError::OutcomeUnknown))
    }

    fn start(&self, product: ProductId) -> mpsc::Sender<Waiting> {
        let _starting = self.starting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(inbox) = self.inboxes.load().get(&product) {
            return inbox.clone();
        }
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let batcher = Batcher::new(product, self.shared.clone());
        self.shared.tasks.spawn(batcher.run(inbox));
        let mut inboxes = Inboxes::clone(&self.inboxes.load());
        inboxes.insert(product, sender.clone());
        self.inboxes.store(Arc::new(inboxes));
        sender
    }
}

/// Asks Redis for its time.
async fn learn_time(redis: &RedisPool, clock: &RedisClock) -> Result<(), RedisCallError> {
    let value = redis.query(&redis::cmd("TIME")).await?;
    if let Some(redis_ms) = read_time(&value) {
        clock.learn(redis_ms, Instant::now());
    }
    Ok(())
}

/// Milliseconds from `TIME`'s seconds and microseconds.
fn read_time(value: &Value) -> Option<i64> {
    let Value::Array(parts) = value else { return None };
    let [Value::BulkString(seconds), Value::BulkString(micros)] = parts.as_slice() else {
        return None;
    };
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok();
    Some(number(seconds)? * 1000 + number(micros)? / 1000)
}

/// Keeps the clock and the readiness of Redis up to date until `stop`.
pub async fn watch_redis(
    redis: RedisPool,
    clock: RedisClock,
    ready: Part,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::for_connection();
    loop {
        let result = learn_time(&redis, &clock).await;
        if ready.get()
            && let Err(error) = &result
        {
            tracing::warn!(%error, "redis is away");
        }
        ready.set(result.is_ok());
        let pause = if result.is_ok() {
            backoff.reset();
            WATCH_PERIOD
        } else {
            backoff.next_delay(service::backoff::jitter())
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_time_is_read_in_milliseconds() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let time = Value::Array(vec![bulk("1700000000"), bulk("123456")]);
        assert_eq!(read_time(&time), Some(1_700_000_000_123));
        assert_eq!(read_time(&Value::Array(vec![bulk("1")])), None);
    }
}
