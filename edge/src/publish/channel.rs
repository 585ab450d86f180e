//! The one channel orders are published on, and the loop that owns it.
//!
//! One task owns the channel: confirms of a shared channel report false acknowledgements. They are
//! awaited one by one, oldest first, on the channel they belong to.
//! Invariant: only `Ack(None)` confirms; a returned message is acknowledged too, and lost.

use std::collections::VecDeque;
use std::pin::Pin;

use domain::contract::topology;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event, PublisherConfirm};
use service::amqp::{self, Topology};
use service::backoff::Backoff;
use uuid::Uuid;

use super::pending::{Message, Pending, takes_more};
use super::{Publisher, Submission};

/// AMQP 0-9-1: written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

const TOPOLOGY: Topology = Topology {
    exchange: topology::EXCHANGE,
    queue: topology::QUEUE,
    routing_key: topology::ROUTING_KEY,
    dead_exchange: topology::DEAD_EXCHANGE,
    dead_queue: topology::DEAD_QUEUE,
    length_max: topology::QUEUE_LENGTH_MAX,
    delivery_limit: topology::DELIVERY_LIMIT,
};

/// Why a channel is given up. What was not confirmed on it is published again on the next.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
    #[error("a message was not taken: {0}")]
    NotTaken(&'static str),
    #[error("the connection ended")]
    Ended,
}

/// An open channel.
pub(super) struct Open {
    _connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
}

/// Connects, declares the topology, and turns confirms on.
pub(super) async fn open(url: &str) -> Result<Open, ChannelError> {
    let (connection, channel) = amqp::open(url, "edge-publish", &TOPOLOGY).await?;
    let events = Box::pin(connection.events_listener());
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(Open { _connection: connection, channel, events })
}

impl Publisher {
    /// Publishes on one channel: first what an earlier one left unconfirmed, then what comes.
    /// `Ok` when every handle is gone and everything is confirmed.
    pub(super) async fn publish_all(
        &mut self,
        mut open: Open,
        pending: &mut Pending,
        backoff: &mut Backoff,
    ) -> Result<(), ChannelError> {
        let mut confirms: VecDeque<PublisherConfirm> = VecDeque::new();
        for message in pending.iter() {
            confirms.push_back(publish(&open.channel, message).await?);
        }
        self.set_broker_up(true);
        let mut closed = false;
        loop {
            if closed && confirms.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                event = open.events.next() => self.note(event)?,
                confirmation = oldest(&mut confirms), if !confirms.is_empty() => {
                    confirms.pop_front();
                    accept(&confirmation?)?;
                    // Not earlier: a broker that refuses everything takes connections, too.
                    backoff.reset();
                    if let Some(message) = pending.pop() {
                        for waiter in message.waiters {
                            let _ = waiter.send(());
                        }
                        self.outbox.delete(message.entries);
                    }
                }
                first = self.inbox.recv(), if !closed && pending.has_room() => match first {
                    None => closed = true,
                    Some(first) => {
                        let message = pending.push(Message::of(self.gather(first)));
                        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 orders")]
                        self.metrics.publish_batch.observe(message.orders as f64);
                        confirms.push_back(publish(&open.channel, message).await?);
                    }
                },
            }
        }
    }

    /// What waits together is published together.
    fn gather(&mut self, first: Submission) -> Vec<Submission> {
        let mut orders = first.batch.orders.len();
        let mut submissions = vec![first];
        while takes_more(submissions.len(), self.message_batches_max, orders) {
            let Ok(next) = self.inbox.try_recv() else { break };
            orders += next.batch.orders.len();
            submissions.push(next);
        }
        submissions
    }

    fn note(&self, event: Option<Event>) -> Result<(), ChannelError> {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tracing::warn!(reason, "the broker takes no messages for now");
                self.set_broker_up(false);
            }
            Some(Event::ConnectionUnblocked) => self.set_broker_up(true),
            Some(Event::Error(error)) => return Err(error.into()),
            Some(_) => {}
            None => return Err(ChannelError::Ended),
        }
        Ok(())
    }
}

/// The oldest confirm. Cancel-safe: an unresolved confirm stays at the front.
async fn oldest(confirms: &mut VecDeque<PublisherConfirm>) -> Result<Confirmation, lapin::Error> {
    match confirms.front_mut() {
        Some(confirm) => confirm.await,
        None => std::future::pending().await,
    }
}

fn accept(confirmation: &Confirmation) -> Result<(), ChannelError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        // Opening a new channel declares the topology again.
        Confirmation::Ack(Some(_)) => Err(ChannelError::NotTaken("no queue is bound")),
        Confirmation::Nack(_) => Err(ChannelError::NotTaken("nacked")),
        Confirmation::NotRequested => Err(ChannelError::NotTaken("confirms are off")),
    }
}

async fn publish(channel: &Channel, message: &Message) -> Result<PublisherConfirm, ChannelError> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(ShortString::from("application/json"))
        .with_message_id(ShortString::from(Uuid::now_v7().to_string()));
    if let Some(headers) = &message.headers {
        properties = properties.with_headers(headers.clone());
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel
        .basic_publish(
            ShortString::from(topology::EXCHANGE),
            ShortString::from(topology::ROUTING_KEY),
            options,
            &message.body,
            properties,
        )
        .await?;
    Ok(confirm)
}
