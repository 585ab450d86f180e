//! Reserving: requests of one product that arrive together share one call of `reserve.lua`.
//!
//! Owns the batchers, one task a product, so that a buyer who disconnects strands nothing. Leaves
//! publishing to `publish` and words to `http`.
//! Invariant: every request gets exactly one answer, at the latest soon after its deadline.

mod batcher;
pub mod call;
mod clock;
mod linger;
pub mod reply;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::{ProductId, Quantity, ReservationId, Reserved, UserId};
use service::redis_pool::{LoadedScript, RedisPool};
use service::trace::Traced;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::publish::PublishHandle;
pub use clock::RedisClock;

const RESERVE: &str = include_str!("../../../lua/reserve.lua");

/// Requests waiting for one product: at 50,000 a second more than the longest wait's worth would
/// only be told 503 later.
const WAITING_MAX: usize = 16_384;

/// The script every connection of the pool should preload.
pub fn script() -> LoadedScript {
    LoadedScript::new(RESERVE)
}

/// Bounds of reserving.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that share a call at most.
    pub batch_max: usize,
    /// Longest wait for company.
    pub linger_max: Duration,
    /// Outbox entries from which on nothing more is reserved.
    pub outbox_max: u32,
    /// Longest wait for a reservation.
    pub buy_timeout: Duration,
    /// Longest wait for the broker's confirm.
    pub confirm_timeout: Duration,
}

/// What a buyer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The script's decision.
    pub reserved: Reserved,
    /// Units that could still be reserved.
    pub available: i64,
}

/// Why a buyer cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Nothing was reserved.
    #[error("nothing was reserved")]
    Unavailable,
    /// Something may have been reserved; the same request again tells.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
}

/// What a buyer wants, under the id the edge proposes for it.
#[derive(Debug)]
pub struct Proposal {
    /// Who buys.
    pub user: UserId,
    /// Units.
    pub quantity: Quantity,
    /// The proposed id; the script decides which one stands.
    pub candidate: ReservationId,
    /// Set when this request is followed.
    pub traced: Option<Arc<Traced>>,
}

/// One press of Buy on its way to Redis.
#[derive(Debug)]
struct Request {
    proposal: Proposal,
    arrived: Instant,
    reply: oneshot::Sender<Result<Answer, ReserveError>>,
}

/// Reserves units. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reserver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: RedisPool,
    limits: Limits,
    publish: PublishHandle,
    metrics: Metrics,
    clock: Arc<RedisClock>,
    tasks: TaskTracker,
    /// Read by every request, replaced when a product is first asked for.
    batchers: ArcSwap<HashMap<ProductId, mpsc::Sender<Request>>>,
    starting: Mutex<()>,
}

impl Reserver {
    /// Starts no task yet; batchers run in `tasks` until the last clone is dropped.
    pub fn new(
        redis: RedisPool,
        limits: Limits,
        publish: PublishHandle,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            redis,
            limits,
            publish,
            metrics,
            clock: Arc::new(RedisClock::new(Instant::now())),
            tasks,
            batchers: ArcSwap::default(),
            starting: Mutex::new(()),
        }))
    }

    /// Redis time, as replies tell it.
    pub fn clock(&self) -> Arc<RedisClock> {
        self.0.clock.clone()
    }

    /// Reserves under the proposed id, or says why not. The product must exist: each has a task.
    ///
    /// # Errors
    /// See [`ReserveError`].
    pub async fn reserve(
        &self,
        product: ProductId,
        proposal: Proposal,
    ) -> Result<Answer, ReserveError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { proposal, arrived: Instant::now(), reply };
        let waiting = self.0.batchers.load();
        let sent = match waiting.get(&product) {
            Some(batcher) => batcher.try_send(request),
            None => self.start_batcher(product).try_send(request),
        };
        sent.map_err(|_| ReserveError::Unavailable)?;
        // A batcher that died may have called Redis.
        answer.await.unwrap_or(Err(ReserveError::OutcomeUnknown))
    }

    fn start_batcher(&self, product: ProductId) -> mpsc::Sender<Request> {
        let _one_at_a_time = self.0.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let batchers = self.0.batchers.load();
        if let Some(batcher) = batchers.get(&product) {
            return batcher.clone();
        }
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let mut more = HashMap::clone(&batchers);
        more.insert(product, sender.clone());
        self.0.batchers.store(Arc::new(more));
        let inner = &self.0;
        let batcher = batcher::Batcher {
            product,
            redis: inner.redis.clone(),
            script: script(),
            limits: inner.limits,
            publish: inner.publish.clone(),
            metrics: inner.metrics.clone(),
            clock: inner.clock.clone(),
        };
        inner.tasks.spawn(batcher.run(inbox));
        sender
    }
}
