//! Acknowledging what is settled, beside the settling of what comes next.
//!
//! One task acknowledges, in order, and the newest only: it stands for everything before it.
//! Invariant: a delivery is acknowledged only after [`Acknowledger::settled`] was told of it.

use lapin::options::BasicAckOptions;
use lapin::{Channel, Error};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running task; without its handle it ends once everything settled is acknowledged.
pub(super) struct Acknowledger {
    newest: watch::Sender<u64>,
    task: JoinHandle<Result<(), Error>>,
}

/// The channel ended: whatever is not acknowledged is delivered again.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the channel ended")]
pub(super) struct Ended;

impl Acknowledger {
    /// Starts on a channel whose consumer nobody else acknowledges.
    pub(super) fn start(channel: Channel) -> Self {
        // Tags count from one (AMQP 0-9-1, basic.deliver).
        let (newest, inbox) = watch::channel(0);
        Self { newest, task: tokio::spawn(acknowledge(channel, inbox)) }
    }

    /// Everything up to this delivery is settled.
    pub(super) fn settled(&self, tag: u64) -> Result<(), Ended> {
        self.newest.send(tag).map_err(|_| Ended)
    }

    /// Waits until everything settled is acknowledged.
    pub(super) async fn finish(self) -> Result<(), Error> {
        drop(self.newest);
        // The task itself fails only when the runtime ends, and nobody waits any more.
        self.task.await.unwrap_or(Ok(()))
    }
}

async fn acknowledge(channel: Channel, mut inbox: watch::Receiver<u64>) -> Result<(), Error> {
    while inbox.changed().await.is_ok() {
        let tag = *inbox.borrow_and_update();
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}
