//! Publishing accepted orders to RabbitMQ, until the broker confirmed them.
//!
//! Owns what waits for the broker; leaves reserving to `reserve`, and what a dead edge left behind
//! to the settler's relay. Stock is never returned because a publish failed.
//! Invariant: a batch leaves this module only when it was confirmed; past the bound, only because
//! its outbox entry stands.

mod channel;
mod outbox;
mod pending;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::contract::order_message::OrderBatch;
use service::backoff::Backoff;
use service::readiness::Part;
use service::redis_pool::RedisPool;
use service::trace::Traced;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use pending::Pending;

/// Batches waiting while the broker is away. At 300 batches a second this is some 14 s of one
/// edge; later ones are left to the outbox and the relay.
const WAITING_MAX: usize = 4096;

/// A batch and who waits for its confirm.
#[derive(Debug)]
struct Submission {
    batch: OrderBatch,
    /// Requests in it that are followed.
    traced: Vec<Arc<Traced>>,
    confirmed: oneshot::Sender<()>,
}

/// Where accepted orders are handed over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PublishHandle {
    inbox: mpsc::Sender<Submission>,
    broker_up: Arc<AtomicBool>,
}

impl PublishHandle {
    /// Hands a batch over. Resolves when the broker confirmed it; `None` when waiting would be in
    /// vain, because the broker is known to be away or too much waits for it.
    pub fn submit(
        &self,
        batch: OrderBatch,
        traced: Vec<Arc<Traced>>,
    ) -> Option<oneshot::Receiver<()>> {
        let (confirmed, wait) = oneshot::channel();
        let submitted = self.inbox.try_send(Submission { batch, traced, confirmed }).is_ok();
        (submitted && self.broker_up.load(Ordering::Relaxed)).then_some(wait)
    }
}

/// Publishes what is handed over.
#[derive(Debug)]
pub struct Publisher {
    amqp_url: String,
    inbox: mpsc::Receiver<Submission>,
    broker_up: Arc<AtomicBool>,
    ready: Part,
    outbox: outbox::Cleaner,
    metrics: Metrics,
    /// Micro-batches one message carries at most.
    message_batches_max: usize,
}

/// A publisher and the handle to it. `ready` is set while the broker takes messages.
pub fn publisher(
    amqp_url: String,
    message_batches_max: usize,
    redis: RedisPool,
    metrics: Metrics,
    ready: Part,
) -> (PublishHandle, Publisher) {
    let (sender, inbox) = mpsc::channel(WAITING_MAX);
    let broker_up = Arc::new(AtomicBool::new(false));
    let handle = PublishHandle { inbox: sender, broker_up: broker_up.clone() };
    let outbox = outbox::Cleaner::new(redis);
    let publisher =
        Publisher { amqp_url, inbox, broker_up, ready, outbox, metrics, message_batches_max };
    (handle, publisher)
}

impl Publisher {
    /// Publishes until every handle is dropped and everything is confirmed, or `give_up`.
    pub async fn run(mut self, give_up: CancellationToken) {
        let mut backoff = Backoff::for_connection();
        let mut pending = Pending::default();
        let mut announced = false;
        loop {
            let connected = tokio::select! {
                connected = channel::open(&self.amqp_url) => connected,
                () = give_up.cancelled() => break,
            };
            match connected {
                Ok(open) => {
                    if !std::mem::replace(&mut announced, true) {
                        service::telemetry::announce_connected("RabbitMQ");
                    }
                    let ended = tokio::select! {
                        ended = self.publish_all(open, &mut pending, &mut backoff) => ended,
                        () = give_up.cancelled() => break,
                    };
                    self.set_broker_up(false);
                    match ended {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(%error, "the broker is away"),
                    }
                }
                Err(error) if backoff.failures() == 0 => {
                    tracing::warn!(%error, "the broker cannot be reached; trying again");
                }
                Err(_) => {}
            }
            if self.inbox.is_closed() && self.inbox.is_empty() && pending.is_empty() {
                return;
            }
            tokio::select! {
                () = backoff.wait() => {}
                () = give_up.cancelled() => break,
            }
        }
        let left = self.inbox.len() + pending.len();
        if left > 0 {
            tracing::warn!(batches = left, "left to the relay: the broker did not confirm in time");
        }
    }

    fn set_broker_up(&self, up: bool) {
        self.broker_up.store(up, Ordering::Relaxed);
        self.ready.set(up);
    }
}
