//! Reserving: requests of one product that arrive together share one call of `reserve.lua`.
//!
//! Owns the batchers, one task a product, so that a buyer who disconnects strands nothing. Leaves
//! publishing to `publish` and words to `http`.
//! Invariant: every request gets exactly one answer, at the latest soon after its deadline.

mod admission;
mod batcher;
pub mod call;
mod clock;
mod linger;
pub mod reply;
mod sold_out;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::{
    Epoch, Holder, IdempotencyKey, ProductId, Quantity, ReservationId, Reserved, Seq, UserId,
};
use service::redis_pool::{LoadedScript, RedisPool};
use service::trace::Traced;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::publish::PublishHandle;
use admission::Pace;
pub use clock::{RedisClock, system_ms};
use sold_out::SoldOut;

const RESERVE: &str = include_str!("../../../lua/reserve.lua");

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
    /// Requests of one product that wait for a call, besides the batch under way. At 50,000 a
    /// second more than the longest wait's worth would only be told 503 later.
    pub waiting_max: usize,
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
    /// Under which a repeated request finds this reservation.
    pub key: Option<IdempotencyKey>,
    /// Set when this request is followed.
    pub traced: Option<Arc<Traced>>,
}

impl Proposal {
    /// The reservation it becomes when it is accepted at this place in line.
    pub const fn holder(&self, seq: Seq) -> Holder {
        Holder { id: self.candidate, quantity: self.quantity, seq, key: self.key }
    }
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

/// The way of one product's requests.
#[derive(Debug, Clone)]
struct Lane {
    inbox: mpsc::Sender<Request>,
    sold_out: Arc<SoldOut>,
    pace: Arc<Pace>,
    /// That of the node which holds this product.
    clock: Arc<RedisClock>,
}

impl Lane {
    /// Whether a request that comes now is decided in time, as far as the last batch tells.
    fn admits(&self, limits: &Limits) -> bool {
        let waiting = self.inbox.max_capacity() - self.inbox.capacity();
        // Half of the wait is left for what the estimate does not see.
        admission::admits(waiting, limits.batch_max, self.pace.round(), limits.buy_timeout / 2)
    }
}

#[derive(Debug)]
struct Inner {
    redis: RedisPool,
    limits: Limits,
    publish: PublishHandle,
    metrics: Metrics,
    tasks: TaskTracker,
    /// Read by every request, replaced when a product is first asked for.
    lanes: ArcSwap<HashMap<ProductId, Lane>>,
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
            tasks,
            lanes: ArcSwap::default(),
            starting: Mutex::new(()),
        }))
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
        let arrived = Instant::now();
        let lanes = self.0.lanes.load();
        let lane = match lanes.get(&product) {
            Some(lane) => lane,
            None => &self.start_lane(product),
        };
        if let Some(reserved) = lane.sold_out.answer(&proposal, &lane.clock, arrived) {
            return Ok(Answer { reserved, available: 0 });
        }
        if !lane.admits(&self.0.limits) {
            return Err(ReserveError::Unavailable);
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { proposal, arrived, reply };
        lane.inbox.try_send(request).map_err(|_| ReserveError::Unavailable)?;
        // A batcher that died may have called Redis.
        answer.await.unwrap_or(Err(ReserveError::OutcomeUnknown))
    }

    /// Hears of a frame of the feed: a sale told from memory may have units again.
    pub fn note_frame(&self, product: ProductId, epoch: Epoch, available: i64) {
        if let Some(lane) = self.0.lanes.load().get(&product) {
            lane.sold_out.note_frame(epoch, available);
        }
    }

    fn start_lane(&self, product: ProductId) -> Lane {
        let _one_at_a_time = self.0.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = self.0.lanes.load();
        if let Some(lane) = lanes.get(&product) {
            return lane.clone();
        }
        let inner = &self.0;
        let (sender, inbox) = mpsc::channel(inner.limits.waiting_max);
        let clock = Arc::new(RedisClock::new(Instant::now()));
        let lane = Lane {
            inbox: sender,
            sold_out: Arc::default(),
            pace: Arc::default(),
            clock: clock.clone(),
        };
        let mut more = HashMap::clone(&lanes);
        more.insert(product, lane.clone());
        inner.lanes.store(Arc::new(more));
        let batcher = batcher::Batcher {
            product,
            redis: inner.redis.clone(),
            script: script(),
            limits: inner.limits,
            publish: inner.publish.clone(),
            metrics: inner.metrics.clone(),
            clock,
            sold_out: lane.sold_out.clone(),
            pace: lane.pace.clone(),
            tasks: inner.tasks.clone(),
        };
        inner.tasks.spawn(batcher.run(inbox));
        lane
    }
}
