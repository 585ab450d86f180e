//! The consuming loop: deliveries in, batches settled, acknowledgements out.
//!
//! Owns delivery and retry; leaves the transaction to `settle` and Redis to `effects`. Batches
//! form by themselves: what arrives during a transaction is read meanwhile and shares the next one.
//! Invariant: ack only after COMMIT; a crash in between must redeliver.

mod acknowledger;
pub mod broker;
mod linger;

use std::collections::HashSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use domain::ProductId;
use domain::contract::order_message::{self, OrderBatch};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::{Channel, Consumer};
use service::backoff::Backoff;
use service::postgres::DatabaseError;
use service::readiness::Part;
use service::trace::{self, Traced};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, StageLabel};
use crate::report::Reporter;
use crate::settle::{SettleError, Settled, settle_batch};
use acknowledger::{Acknowledger, Ended};
use broker::{BrokerError, Publisher};

/// A batch that cannot be settled is given back after this long: before the broker's own limit of
/// 30 minutes, at which it would close the channel.
const HOLD_MAX: Duration = Duration::from_secs(600);
/// Failures in a row after which a person should look.
const FAILURES_ALARMING: u32 = 5;

/// What the loop needs.
pub struct Consume {
    /// RabbitMQ.
    pub amqp_url: String,
    /// PostgreSQL.
    pub pool: Pool,
    /// Orders one transaction settles at most, give or take a message.
    pub batch_max: usize,
    /// Unacknowledged messages at most.
    pub prefetch: u16,
    /// What is counted.
    pub metrics: Metrics,
    /// Set while consuming.
    pub broker_ready: Part,
}

/// One delivery, read.
struct Message {
    delivery: Delivery,
    batches: Vec<OrderBatch>,
}

/// Deliveries that share a transaction, and the tag that acknowledges all of them.
#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    dead: Vec<(Delivery, String)>,
    /// Requests that are followed.
    traced: Vec<Traced>,
    orders: usize,
    last_tag: u64,
}

impl Batch {
    /// Whether nothing was delivered: tags count from one (AMQP 0-9-1, basic.deliver).
    const fn is_empty(&self) -> bool {
        self.last_tag == 0
    }

    fn add(&mut self, delivery: Delivery) {
        self.last_tag = delivery.delivery_tag;
        self.traced.extend(trace::from_headers(delivery.properties.headers().as_ref()));
        match order_message::decode(&delivery.data) {
            Ok(batches) => {
                self.orders += batches.iter().map(|b| b.orders.len()).sum::<usize>();
                self.messages.push(Message { delivery, batches });
            }
            Err(error) => self.dead.push((delivery, error.to_string())),
        }
    }

    /// Moves messages about products that do not exist to the dead ones.
    fn bury(&mut self, unknown: &[ProductId]) {
        let is_unknown = |m: &Message| m.batches.iter().any(|b| unknown.contains(&b.product));
        let (dead, alive) = std::mem::take(&mut self.messages).into_iter().partition(is_unknown);
        self.messages = alive;
        let reason = format!("no such product: {}", join(unknown));
        self.dead.extend(Vec::into_iter(dead).map(|m| (m.delivery, reason.clone())));
    }
}

fn join(products: &[ProductId]) -> String {
    let distinct: HashSet<_> = products.iter().map(ToString::to_string).collect();
    distinct.into_iter().collect::<Vec<_>>().join(", ")
}

/// Where a batch's results go.
struct Outlets {
    dead_letters: Publisher,
    reporter: Reporter,
}

/// Why the loop over one connection ended.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker cancelled the consumer")]
    Cancelled,
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("gave the batch back to the broker: {0}")]
    GaveBack(SettleError),
}

impl Consume {
    /// Consumes until `stop`, reconnecting for ever. What was settled goes to `reporter`.
    pub async fn run(self, reporter: Reporter, stop: CancellationToken) {
        let mut backoff = Backoff::for_connection();
        let dead_letters = Publisher::new(self.amqp_url.clone(), "settler-dead");
        let mut out = Outlets { dead_letters, reporter };
        let mut announced = false;
        while !stop.is_cancelled() {
            let connected = tokio::select! {
                connected = broker::consume(&self.amqp_url, self.prefetch) => connected,
                () = stop.cancelled() => return,
            };
            let error = match connected {
                Ok((connection, channel, consumer)) => {
                    if !std::mem::replace(&mut announced, true) {
                        service::telemetry::announce_connected("RabbitMQ");
                    }
                    backoff.reset();
                    self.broker_ready.set(true);
                    let ended = self.drain(channel, consumer, &mut out, &stop).await;
                    self.broker_ready.set(false);
                    // Best effort: what is not acknowledged is delivered again either way.
                    let _ = connection.close(200, "settler stops".into()).await;
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error.into(),
            };
            tracing::warn!(%error, failures = backoff.failures(), "not consuming; trying again");
            tokio::select! {
                () = backoff.wait() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Settles until `stop`, and acknowledges what was settled, however it ends; the broker
    /// delivers the rest again.
    async fn drain(
        &self,
        channel: Channel,
        consumer: Consumer,
        out: &mut Outlets,
        stop: &CancellationToken,
    ) -> Result<(), ConsumeError> {
        let acknowledger = Acknowledger::start(channel);
        let ended = self.settle_all(consumer, &acknowledger, out, stop).await;
        acknowledger.finish().await?;
        ended
    }

    async fn settle_all(
        &self,
        mut consumer: Consumer,
        acknowledger: &Acknowledger,
        out: &mut Outlets,
        stop: &CancellationToken,
    ) -> Result<(), ConsumeError> {
        let (mut settled, mut began) = (0, Instant::now());
        let mut next = Batch::default();
        while !stop.is_cancelled() {
            if next.is_empty() {
                next.add(tokio::select! {
                    delivery = consumer.next() => delivery.ok_or(ConsumeError::Cancelled)??,
                    () = stop.cancelled() => return Ok(()),
                });
            }
            let linger = linger::linger(settled, began.elapsed());
            // Polled at least once: what has arrived is taken even without time.
            let filled = tokio::time::timeout(linger, self.fill(&mut consumer, &mut next)).await;
            filled.unwrap_or(Ok(()))?;
            let batch = std::mem::take(&mut next);
            (settled, began) = (batch.orders, Instant::now());
            let mut finished = pin!(self.finish(acknowledger, batch, out, stop));
            // The database need not wait for what is read.
            let goes_on = tokio::select! {
                goes_on = finished.as_mut() => goes_on?,
                filled = self.fill(&mut consumer, &mut next) => {
                    let goes_on = finished.await?;
                    filled?;
                    goes_on
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds what arrives until the batch is full. May be given up half-way: nothing is lost.
    async fn fill(&self, consumer: &mut Consumer, batch: &mut Batch) -> Result<(), ConsumeError> {
        while batch.orders < self.batch_max {
            batch.add(consumer.next().await.ok_or(ConsumeError::Cancelled)??);
        }
        Ok(())
    }

    /// Settles one batch and hands it over to be acknowledged; false when `stop` came first.
    async fn finish(
        &self,
        acknowledger: &Acknowledger,
        mut batch: Batch,
        out: &mut Outlets,
        stop: &CancellationToken,
    ) -> Result<bool, ConsumeError> {
        let settled = self.settle_until_done(&mut batch, stop).await;
        let Some(settled) = settled.map_err(ConsumeError::GaveBack)? else { return Ok(false) };
        for (delivery, reason) in &batch.dead {
            tracing::error!(reason, "a message no settler can read goes to the dead letters");
            out.dead_letters.publish_dead(&delivery.data, reason).await?;
        }
        self.metrics.count_settled("dead", batch.dead.len());
        acknowledger.settled(batch.last_tag)?;
        for report in settled.reports {
            out.reporter.hand_over(report);
        }
        Ok(true)
    }

    /// Tries until the batch is settled, it has been held for [`HOLD_MAX`], or `stop` (`None`).
    async fn settle_until_done(
        &self,
        batch: &mut Batch,
        stop: &CancellationToken,
    ) -> Result<Option<Settled>, SettleError> {
        let mut backoff = Backoff::for_connection();
        let held_since = Instant::now();
        loop {
            if batch.messages.is_empty() {
                return Ok(Some(Settled::default()));
            }
            let started = Instant::now();
            let batches = batch.messages.iter().flat_map(|message| &message.batches);
            let error = match settle_batch(&self.pool, batches).await {
                Ok(settled) => {
                    self.count(batch, &settled, started.elapsed());
                    return Ok(Some(settled));
                }
                Err(SettleError::UnknownProducts(unknown)) => {
                    batch.bury(&unknown);
                    continue;
                }
                Err(error) => error,
            };
            if held_since.elapsed() > HOLD_MAX {
                return Err(error);
            }
            log_failure(&error, backoff.failures());
            tokio::select! {
                () = backoff.wait() => {}
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    fn count(&self, batch: &Batch, settled: &Settled, elapsed: Duration) {
        let orders = batch.orders;
        self.metrics.settle_seconds.observe(elapsed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^53 orders")]
        let size = orders as f64;
        self.metrics.batch_orders.get_or_create(&StageLabel { stage: "settle" }).observe(size);
        self.metrics.count_settled("confirmed", settled.confirmed);
        self.metrics.count_settled("held", settled.held);
        self.metrics.count_settled("rejected", settled.rejected);
        self.metrics.count_settled("replayed", settled.replayed);
        if settled.rejected > 0 {
            tracing::warn!(
                orders.rejected = settled.rejected,
                "accepted orders were rejected: redis had lost data"
            );
        }
        for Traced { parent, request_id } in &batch.traced {
            tracing::info!(
                trace_id = parent.trace_id(),
                parent_span_id = parent.span_id(),
                request_id,
                batch.orders = orders,
                elapsed_ms = elapsed.as_millis(),
                "settled"
            );
        }
        tracing::debug!(batch.orders = orders, elapsed_ms = elapsed.as_millis(), "settled");
    }
}

fn log_failure(error: &SettleError, failures: u32) {
    match error {
        SettleError::FutureEpoch { .. } | SettleError::Database(DatabaseError::Refused(_)) => {
            tracing::error!(%error, failures, "settling stops until a person looks");
        }
        _ if failures == FAILURES_ALARMING => {
            tracing::error!(%error, failures, "settling does not get on");
        }
        _ => tracing::warn!(%error, failures, "not settled; trying again"),
    }
}
