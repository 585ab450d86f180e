//! The loop of one product: gather requests, call the script, hand over what was accepted.
//!
//! Invariant: a call whose outcome is unknown is repeated with the same candidate ids only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::contract::keys;
use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{ProductId, Reserved};
use service::backoff::Backoff;
use service::kill_point;
use service::redis_pool::{LoadedScript, RedisCallError, RedisCalls, RedisPool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Pace;
use super::call::{self, Next, Outcome, Tries};
use super::clock::RedisClock;
use super::linger::{Last, gather, linger};
use super::reply::{Decided, Reply, decode};
use super::sold_out::{SoldOut, Watcher};
use super::turn::{Turn, Way};
use super::{Answer, Limits, Request, ReserveError};
use crate::metrics::Metrics;
use crate::publish::PublishHandle;

/// Pauses before a call is repeated: a sale that is being vouched for opens within some 100 ms, and
/// a request waits a second at most.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(80);

/// Everything one product's loop needs.
pub(super) struct Batcher {
    pub(super) product: ProductId,
    pub(super) redis: RedisPool,
    pub(super) script: LoadedScript,
    pub(super) limits: Limits,
    pub(super) publish: PublishHandle,
    pub(super) metrics: Metrics,
    pub(super) clock: Arc<RedisClock>,
    pub(super) sold_out: Arc<SoldOut>,
    pub(super) pace: Arc<Pace>,
    /// Where the watcher of a sold-out sale runs.
    pub(super) tasks: TaskTracker,
}

/// What a batch was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// That nobody can say.
    Nothing,
    /// What the script decided.
    Decisions,
    /// The same, to some that nothing is left.
    SoldOut,
}

impl Batcher {
    /// Runs until every sender is gone and nothing waits.
    pub(super) async fn run(self, mut inbox: mpsc::Receiver<Request>) {
        let turn = Turn::new();
        // Whoever watches the sale ends with this loop.
        let stop = CancellationToken::new();
        let _ends = stop.clone().drop_guard();
        let batch_max = self.limits.batch_max;
        let (mut called, mut requests) = (Instant::now(), 0);
        while let Some(first) = inbox.recv().await {
            let began = Instant::now();
            let mut batch = Vec::with_capacity(batch_max.min(64));
            batch.push(first);
            take_waiting(&mut inbox, &mut batch, batch_max);
            let last = Last { requests, since: called.elapsed() };
            let way = self.linger(&turn, batch.len(), last).await;
            take_waiting(&mut inbox, &mut batch, batch_max);
            (called, requests) = (Instant::now(), batch.len());
            let told = self.decide(batch, way).await;
            if told != Told::Nothing {
                self.pace.note(began.elapsed());
            }
            if told == Told::SoldOut && self.sold_out.begin_watching() {
                self.tasks.spawn(self.watcher(stop.clone()).run());
            }
        }
    }

    /// Gathers, and waits for the batch before this one, as long as that is worth it.
    async fn linger(&self, turn: &Arc<Turn>, waiting: usize, last: Last) -> Way {
        let linger = linger(waiting, self.limits.batch_max, self.limits.linger_max);
        let gather = gather(last, turn.took(), linger);
        if !gather.is_zero() {
            tokio::time::sleep(gather).await;
        }
        turn.begin(linger - gather).await
    }

    fn watcher(&self, stop: CancellationToken) -> Watcher<RedisPool> {
        let (redis, sold_out) = (self.redis.clone(), self.sold_out.clone());
        Watcher { product: self.product, redis, sold_out, stop }
    }

    /// Decides a batch and answers it.
    async fn decide(&self, batch: Vec<Request>, way: Way) -> Told {
        let batch = turn_away_late(batch, self.limits.buy_timeout, Instant::now());
        let Some(oldest) = batch.iter().map(|request| request.arrived).min() else {
            return Told::Nothing;
        };
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
        self.metrics.reserve_batch.observe(batch.len() as f64);
        match self.call_until(&batch, oldest + self.limits.buy_timeout).await {
            Ok(decided) => {
                let sold_out = decided.answers.contains(&Reserved::SoldOut);
                self.answer(batch, decided, way);
                if sold_out { Told::SoldOut } else { Told::Decisions }
            }
            Err(error) => {
                for request in batch {
                    let _ = request.reply.send(Err(error));
                }
                Told::Nothing
            }
        }
    }

    /// Calls the script until it decides or `deadline` passes.
    async fn call_until(
        &self,
        batch: &[Request],
        deadline: Instant,
    ) -> Result<Decided, ReserveError> {
        let mut tries = Tries::default();
        let mut backoff = Backoff::new(RETRY_PAUSE, RETRY_PAUSE_MAX);
        loop {
            let outcome = self.call_once(batch, deadline).await;
            if outcome.is_err() {
                self.clock.forget();
            }
            match tries.after(outcome, Instant::now() + RETRY_PAUSE_MAX < deadline) {
                Next::Answer(decided) => return Ok(decided),
                Next::Fail(error) => return Err(error),
                Next::Again => backoff.wait().await,
            }
        }
    }

    async fn call_once(&self, batch: &[Request], deadline: Instant) -> Outcome {
        self.clock.follow(self.redis.generation());
        let deadline_ms = match self.clock.at(deadline) {
            Some(deadline_ms) => deadline_ms,
            None => self.learn_time(deadline).await?,
        };
        let proposals = batch.iter().map(|request| &request.proposal);
        let outbox_max = self.limits.outbox_max;
        let command =
            call::command(&self.script, self.product, deadline_ms, outbox_max, proposals.clone());
        let value = self.redis.call(&self.script, &command).await?;
        let received = Instant::now();
        let reply = decode(&value, proposals);
        match &reply {
            Some(
                Reply::Decided(Decided { redis_ms, .. })
                | Reply::Closed { redis_ms }
                | Reply::Stale { redis_ms },
            ) => self.clock.learn(*redis_ms, received),
            None => tracing::error!(reply = ?value, "reserve.lua replied in another shape"),
        }
        Ok(reply)
    }

    /// Asks Redis for its time, before the first call and after one that failed; the deadline in
    /// that time.
    async fn learn_time(&self, deadline: Instant) -> Result<i64, RedisCallError> {
        let sale = keys::sale(self.product);
        let value = self.redis.query_at(&sale, &redis::cmd("TIME")).await;
        // Whatever became of the question, nothing was reserved by it.
        let value = value.map_err(|error| RedisCallError::NotSent(error.to_string()))?;
        let (seconds, micros): (i64, i64) = redis::from_redis_value(value)
            .map_err(|error| RedisCallError::Refused(error.into()))?;
        self.clock.learn(seconds * 1000 + micros / 1000, Instant::now());
        Ok(self.clock.at(deadline).unwrap_or(0))
    }

    /// Answers refusals at once, and acceptances when the broker has them, or soon enough.
    fn answer(&self, batch: Vec<Request>, decided: Decided, way: Way) {
        let available = decided.available;
        let mut accepted = Vec::new();
        let mut orders = Vec::new();
        let mut traced = Vec::new();
        for (request, reserved) in batch.into_iter().zip(decided.answers) {
            let answer = Answer { reserved, available };
            if let Reserved::Accepted(holder) = reserved {
                orders.push(QueuedOrder::of(request.proposal.user, &holder));
                traced.extend(request.proposal.traced);
                accepted.push((request.reply, answer));
            } else {
                let _ = request.reply.send(Ok(answer));
            }
        }
        if orders.is_empty() {
            return;
        }
        let batch = OrderBatch {
            outbox_id: decided.outbox_id,
            product: self.product,
            epoch: decided.epoch,
            reserved_at_ms: decided.redis_ms,
            orders,
        };
        kill_point::pass("edge.reserved");
        let confirmed = self.publish.submit(batch, traced);
        let confirm_timeout = self.limits.confirm_timeout;
        let tell = move || {
            for (reply, answer) in accepted {
                let _ = reply.send(Ok(answer));
            }
        };
        match confirmed {
            None => tell(),
            Some(confirmed) => {
                tokio::spawn(async move {
                    // Late or unknown: the outbox holds the order, so the promise stands.
                    let _ = tokio::time::timeout(confirm_timeout, confirmed).await;
                    way.confirmed();
                    kill_point::pass("edge.confirmed");
                    tell();
                });
            }
        }
    }
}

fn take_waiting(inbox: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>, batch_max: usize) {
    while batch.len() < batch_max {
        let Ok(request) = inbox.try_recv() else { return };
        batch.push(request);
    }
}

/// Tells requests that waited past their deadline; the rest.
fn turn_away_late(batch: Vec<Request>, timeout: Duration, now: Instant) -> Vec<Request> {
    let (late, rest): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|request| now >= request.arrived + timeout);
    for request in late {
        let _ = request.reply.send(Err(ReserveError::Unavailable));
    }
    rest
}
