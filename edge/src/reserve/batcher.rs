//! The loop of one product: gather, call the script, answer or hand over for publishing.
//!
//! It runs in a task of its own: a buyer who disconnects cannot leave a reservation half done.
//! Invariant: every request taken from the inbox is answered exactly once, and a batch has one
//! call in flight at most.

use std::sync::Arc;
use std::time::Instant;

use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{ProductId, Quantity, ReservationId, Reserved, UserId};
use redis::{ErrorKind, ServerErrorKind};
use service::redis_pool::RedisCallError;
use tokio::sync::{mpsc, oneshot};

use super::call::{self, Decided, Keys, Reply};
use super::pace::Pace;
use super::retry::{Next, Tries, Undecided};
use super::{Answer, ReserveError, Shared};

/// One request that waits for a call.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) user: UserId,
    pub(super) quantity: Quantity,
    pub(super) candidate: ReservationId,
    pub(super) arrived: Instant,
    pub(super) answer: oneshot::Sender<Result<Answer, ReserveError>>,
}

impl Waiting {
    fn answer(self, result: Result<Answer, ReserveError>) {
        // A buyer who went away keeps the reservation: it is queued like any other.
        let _ = self.answer.send(result);
    }
}

/// Serves one product until its inbox is closed and empty.
pub(super) struct Batcher {
    product: ProductId,
    keys: Keys,
    shared: Arc<Shared>,
}

impl Batcher {
    pub(super) fn new(product: ProductId, shared: Arc<Shared>) -> Self {
        Self { product, keys: Keys::of(product), shared }
    }

    pub(super) async fn run(self, mut inbox: mpsc::Receiver<Waiting>) {
        let limits = &self.shared.limits;
        let mut pace = Pace::default();
        while let Some(first) = inbox.recv().await {
            let mut batch = Vec::with_capacity(limits.batch_max);
            batch.push(first);
            gather(&mut inbox, &mut batch, limits.batch_max);
            let linger =
                pace.linger(batch.len(), limits.batch_max, limits.linger_max, Instant::now());
            if !linger.is_zero() {
                // One sleep, not one wake-up a request: under load wake-ups are the cost.
                tokio::time::sleep(linger).await;
                gather(&mut inbox, &mut batch, limits.batch_max);
            }
            pace.record(batch.len(), Instant::now());
            match self.decide(&batch).await {
                Ok((decided, redis_ms)) => self.answer_all(batch, decided, redis_ms),
                Err(error) => batch.into_iter().for_each(|waiting| waiting.answer(Err(error))),
            }
        }
    }

    /// Calls the script until it decides or the oldest request's time is up.
    async fn decide(&self, batch: &[Waiting]) -> Result<(Decided, i64), ReserveError> {
        let deadline = batch[0].arrived + self.shared.limits.buy_timeout;
        let mut tries = Tries::default();
        loop {
            if Instant::now() >= deadline {
                return Err(tries.error());
            }
            let call = tokio::time::timeout_at(deadline.into(), self.call(batch, deadline));
            let why = match call.await {
                Ok(Ok((redis_ms, Reply::Decided(decided)))) => return Ok((decided, redis_ms)),
                Ok(Ok((_, Reply::Closed))) => Undecided::Closed,
                Ok(Ok((_, Reply::Stale))) => Undecided::Stale,
                Ok(Err(CallError::Undecided(why))) => why,
                Ok(Err(CallError::Malformed(error))) => {
                    tracing::error!(product.id = self.product.get(), %error, "reserve.lua");
                    return Err(ReserveError::OutcomeUnknown);
                }
                Err(_) => Undecided::MayHaveRun,
            };
            match tries.decide(why, Instant::now(), deadline) {
                Next::Again(pause) => tokio::time::sleep(pause).await,
                Next::GiveUp(error) => return Err(error),
            }
        }
    }

    async fn call(&self, batch: &[Waiting], deadline: Instant) -> Result<(i64, Reply), CallError> {
        let Shared { redis, script, clock, limits, .. } = &*self.shared;
        let Some(deadline_ms) = clock.redis_ms(deadline) else {
            super::learn_time(redis, clock).await.map_err(|_| Undecided::NotSent)?;
            return Err(Undecided::Stale.into());
        };
        let command = call::command(script, &self.keys, deadline_ms, limits.outbox_max, batch);
        let value = redis.call(script, &command).await.map_err(|error| classify(&error))?;
        let (redis_ms, reply) = call::decode(&value, batch.len()).map_err(CallError::Malformed)?;
        clock.learn(redis_ms, Instant::now());
        Ok((redis_ms, reply))
    }

    /// Answers refusals at once; accepted requests once the broker has their orders.
    fn answer_all(&self, batch: Vec<Waiting>, decided: Decided, redis_ms: i64) {
        let Decided { epoch, available, outbox_id, answers } = decided;
        let mut orders = Vec::new();
        let mut accepted = Vec::new();
        for (waiting, reserved) in batch.into_iter().zip(answers) {
            let answer = Answer { reserved, available };
            let Reserved::Accepted(holder) = reserved else {
                waiting.answer(Ok(answer));
                continue;
            };
            orders.push(QueuedOrder {
                id: holder.id,
                user: waiting.user,
                quantity: holder.quantity,
                seq: holder.seq,
            });
            accepted.push((waiting, answer));
        }
        if orders.is_empty() {
            return;
        }
        // Own retries come back with the arrival number of their first try.
        orders.sort_unstable_by_key(|order| order.seq);
        self.shared.metrics.reserve_orders.observe(len_f64(orders.len()));
        let product = self.product;
        let order_batch =
            OrderBatch { outbox_id, product, epoch, reserved_at_ms: redis_ms, orders };
        let confirm = self.shared.publisher.submit(order_batch);
        let answer_accepted = move || {
            accepted.into_iter().for_each(|(waiting, answer)| waiting.answer(Ok(answer)));
        };
        if !confirm.is_pending() {
            return answer_accepted();
        }
        let confirm_timeout = self.shared.limits.confirm_timeout;
        self.shared.tasks.spawn(async move {
            confirm.wait(confirm_timeout).await;
            answer_accepted();
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 orders")]
fn len_f64(orders: usize) -> f64 {
    orders as f64
}

fn gather(inbox: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>, batch_max: usize) {
    while batch.len() < batch_max {
        let Ok(waiting) = inbox.try_recv() else { return };
        batch.push(waiting);
    }
}

enum CallError {
    Undecided(Undecided),
    Malformed(call::MalformedReply),
}

impl From<Undecided> for CallError {
    fn from(why: Undecided) -> Self {
        Self::Undecided(why)
    }
}

fn classify(error: &RedisCallError) -> Undecided {
    match error {
        RedisCallError::NotSent(_) => Undecided::NotSent,
        RedisCallError::Unknown(_) => Undecided::MayHaveRun,
        // A plain ERR may come from the middle of the script; LOADING, OOM and their like do not.
        RedisCallError::Refused(error) => {
            tracing::warn!(%error, "redis refused reserve.lua");
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::ResponseError) => Undecided::MayHaveRun,
                _ => Undecided::Refused,
            }
        }
    }
}
