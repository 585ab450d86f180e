//! The settler's dealings with RabbitMQ: topology, a consumer, and publishing with confirms.
//!
//! Invariant: a publish counts only when the broker confirmed it and did not return it.

use std::time::Duration;

use domain::contract::topology;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use service::amqp::{self, Topology};
use uuid::Uuid;

/// How long one confirm may take before its outcome is called unknown.
const CONFIRM_MAX: Duration = Duration::from_secs(5);
/// How long the queue may take to serve a consumer; one without a leader never does.
const CONSUME_MAX: Duration = Duration::from_secs(10);
/// AMQP 0-9-1: written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Names and limits both programs declare.
pub const TOPOLOGY: Topology = Topology {
    exchange: topology::EXCHANGE,
    queue: topology::QUEUE,
    routing_key: topology::ROUTING_KEY,
    dead_exchange: topology::DEAD_EXCHANGE,
    dead_queue: topology::DEAD_QUEUE,
    length_max: topology::QUEUE_LENGTH_MAX,
    delivery_limit: topology::DELIVERY_LIMIT,
};

/// Why a message may not have reached the queue.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker is away or refused.
    #[error("broker: {0}")]
    Amqp(#[from] lapin::Error),
    /// No confirm in time: the outcome is unknown.
    #[error("broker: no confirm within {} s", CONFIRM_MAX.as_secs())]
    NoConfirm,
    /// Refused, or routed to no queue.
    #[error("broker: the message was not taken: {0}")]
    NotTaken(&'static str),
}

/// Consumes the orders queue on a connection of its own.
///
/// # Errors
/// When the broker is away or refuses.
pub async fn consume(
    url: &str,
    prefetch: u16,
) -> Result<(Connection, Channel, Consumer), lapin::Error> {
    let (connection, channel) = amqp::open(url, "settler-consume", &TOPOLOGY).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(
        ShortString::from(topology::QUEUE),
        ShortString::from(""),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = amqp::within(CONSUME_MAX, consumer).await?;
    Ok((connection, channel, consumer))
}

/// Messages that wait for a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Orders no settler has taken.
    pub orders: u32,
    /// Settlers that take them.
    pub consumers: u32,
    /// Dead letters.
    pub dead: u32,
}

/// Asks how much waits in the queues, on a connection of its own that is made when needed.
#[derive(Debug)]
pub struct Observer {
    url: String,
    open: Option<(Connection, Channel)>,
}

impl Observer {
    /// Does not connect yet.
    pub const fn new(url: String) -> Self {
        Self { url, open: None }
    }

    /// What waits now.
    ///
    /// # Errors
    /// When the broker is away or does not answer in time.
    pub async fn depths(&mut self) -> Result<Depths, BrokerError> {
        let asked = tokio::time::timeout(CONSUME_MAX, self.ask()).await;
        let depths = asked.unwrap_or(Err(BrokerError::NoConfirm));
        if depths.is_err() {
            self.open = None;
        }
        depths
    }

    async fn ask(&mut self) -> Result<Depths, BrokerError> {
        if self.open.as_ref().is_none_or(|(_, channel)| !channel.status().connected()) {
            self.open = Some(amqp::open(&self.url, "settler-observe", &TOPOLOGY).await?);
        }
        let (_, channel) = self.open.as_ref().expect("opened above when it was not");
        let (orders, consumers) = amqp::look(channel, topology::QUEUE).await?;
        let dead = amqp::depth(channel, topology::DEAD_QUEUE).await?;
        Ok(Depths { orders, consumers, dead })
    }
}

/// Where the relay and the sweeper publish.
pub trait Publish: Send {
    /// Publishes to the orders queue and waits for the confirm.
    ///
    /// # Errors
    /// See [`BrokerError`]; after any of them the message may or may not be in the queue.
    fn publish_confirmed(
        &mut self,
        body: &[u8],
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

impl Publish for Publisher {
    async fn publish_confirmed(&mut self, body: &[u8]) -> Result<(), BrokerError> {
        self.publish(topology::EXCHANGE, topology::ROUTING_KEY, body, FieldTable::default()).await
    }
}

/// Publishes one message at a time, on a connection of its own that is made when needed.
#[derive(Debug)]
pub struct Publisher {
    url: String,
    name: &'static str,
    open: Option<(Connection, Channel)>,
}

impl Publisher {
    /// Does not connect yet. `name` is what `rabbitmqctl list_connections` shows.
    pub const fn new(url: String, name: &'static str) -> Self {
        Self { url, name, open: None }
    }

    /// Publishes a message no settler can read to the dead-letter queue, with the reason.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn publish_dead(&mut self, body: &[u8], reason: &str) -> Result<(), BrokerError> {
        let mut headers = FieldTable::default();
        let reason = AMQPValue::LongString(LongString::from(reason));
        headers.insert(ShortString::from(topology::DEAD_REASON_HEADER), reason);
        self.publish(topology::DEAD_EXCHANGE, topology::DEAD_QUEUE, body, headers).await
    }

    async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        headers: FieldTable,
    ) -> Result<(), BrokerError> {
        let published = tokio::time::timeout(
            CONFIRM_MAX,
            self.publish_once(exchange, routing_key, body, headers),
        );
        let result = published.await.unwrap_or(Err(BrokerError::NoConfirm));
        if result.is_err() {
            // A channel that failed once is not trusted with the next confirm.
            self.open = None;
        }
        result
    }

    async fn publish_once(
        &mut self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        headers: FieldTable,
    ) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(ShortString::from("application/json"))
            .with_message_id(ShortString::from(Uuid::now_v7().to_string()))
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel
            .basic_publish(
                ShortString::from(exchange),
                ShortString::from(routing_key),
                options,
                body,
                properties,
            )
            .await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(BrokerError::NotTaken("routed to no queue")),
            Confirmation::Nack(_) => Err(BrokerError::NotTaken("nacked")),
            Confirmation::NotRequested => Err(BrokerError::NotTaken("confirms are off")),
        }
    }

    async fn channel(&mut self) -> Result<&Channel, lapin::Error> {
        if self.open.as_ref().is_none_or(|(_, channel)| !channel.status().connected()) {
            let (connection, channel) = amqp::open(&self.url, self.name, &TOPOLOGY).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            self.open = Some((connection, channel));
        }
        let (_, channel) = self.open.as_ref().expect("opened above when it was not");
        Ok(channel)
    }
}
