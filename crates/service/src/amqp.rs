//! Connections to RabbitMQ and the declaration of a dead-lettered quorum queue.
//!
//! Invariant: publishing and consuming use separate connections, because a broker short of memory
//! blocks a publishing connection as a whole, acknowledgements included.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

/// Seconds between heartbeats: a dead peer is noticed within two of them.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long a connect may take, in milliseconds.
const CONNECT_MAX_MS: u64 = 3_000;

/// Names and limits of one work queue and its dead-letter queue.
#[derive(Debug, Clone, Copy)]
pub struct Topology {
    /// Direct exchange that is published to.
    pub exchange: &'static str,
    /// Quorum queue bound to it.
    pub queue: &'static str,
    /// Key that binds them.
    pub routing_key: &'static str,
    /// Direct exchange dead letters go to.
    pub dead_exchange: &'static str,
    /// Quorum queue bound to that by its own name.
    pub dead_queue: &'static str,
    /// Deliveries after which the broker itself gives up on a message.
    pub delivery_limit: i64,
}

/// Connects under a name that `rabbitmqctl list_connections` shows.
///
/// # Errors
/// When the URL is malformed or the broker cannot be reached within 3 s.
pub async fn connect(url: &str, name: &str) -> Result<Connection, lapin::Error> {
    let mut uri: AMQPUri = url.parse().map_err(|message: String| {
        lapin::Error::from(std::io::Error::new(std::io::ErrorKind::InvalidInput, message))
    })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.connection_timeout.get_or_insert(CONNECT_MAX_MS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(uri, properties).await
}

/// Declares exchanges, queues and bindings; harmless when they exist with the same arguments.
///
/// # Errors
/// When the broker refuses, such as 406 for a queue that exists with other arguments.
pub async fn declare(channel: &Channel, topology: &Topology) -> Result<(), lapin::Error> {
    declare_exchange(channel, topology.dead_exchange).await?;
    let dead = quorum_arguments();
    declare_queue(channel, topology.dead_exchange, topology.dead_queue, topology.dead_queue, dead)
        .await?;
    declare_exchange(channel, topology.exchange).await?;
    let mut arguments = quorum_arguments();
    arguments.insert("x-dead-letter-exchange".into(), text(topology.dead_exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(topology.dead_queue));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    // At-least-once dead-lettering needs it; a full queue then refuses instead of dropping.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(topology.delivery_limit));
    declare_queue(channel, topology.exchange, topology.queue, topology.routing_key, arguments).await
}

fn quorum_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

async fn declare_exchange(channel: &Channel, name: &str) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(
            ShortString::from(name),
            ExchangeKind::Direct,
            options,
            FieldTable::default(),
        )
        .await
}

async fn declare_queue(
    channel: &Channel,
    exchange: &str,
    queue: &str,
    routing_key: &str,
    arguments: FieldTable,
) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(ShortString::from(queue), options, arguments).await?;
    channel
        .queue_bind(
            ShortString::from(queue),
            ShortString::from(exchange),
            ShortString::from(routing_key),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}
