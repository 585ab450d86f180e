//! Connections to RabbitMQ and the declaration of a dead-lettered quorum queue.
//!
//! Invariant: publishing and consuming use separate connections, because a broker short of memory
//! blocks a publishing connection as a whole, acknowledgements included.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

/// Seconds between heartbeats: a dead peer is noticed within two of them.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long a connect may take, in milliseconds.
const CONNECT_MAX_MS: u64 = 3_000;
/// How long connecting and declaring may take together: a broker whose queue has no leader answers
/// nothing at all.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// RabbitMQ 3.10 writes the name of a new quorum queue to disk within half a second (measured: a
/// broker killed 0.3 s after the declaration forgot the queue with what it had confirmed, one
/// killed after 1 s did not). Nothing is bound, and so nothing confirmed, before.
const NEW_QUEUE_SETTLES: Duration = Duration::from_secs(1);

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
    /// Messages the work queue holds before it refuses more.
    pub length_max: i64,
    /// Deliveries after which the broker itself gives up on a message.
    pub delivery_limit: i64,
}

/// Connects under a name that `rabbitmqctl list_connections` shows, and sees to it that the
/// topology exists.
///
/// # Errors
/// When the URL is malformed, the broker refuses, such as 406 for a queue that exists with other
/// arguments, or all of it takes longer than 10 s.
pub async fn open(
    url: &str,
    name: &str,
    topology: &Topology,
) -> Result<(Connection, Channel), lapin::Error> {
    let open = async {
        let connection = connect(url, name).await?;
        let settles = if exists(&connection, topology).await? {
            Duration::ZERO
        } else {
            tracing::info!(queue = topology.queue, "declaring the queue for the first time");
            NEW_QUEUE_SETTLES
        };
        let channel = connection.create_channel().await?;
        declare(&channel, topology, settles).await?;
        Ok((connection, channel))
    };
    within(OPEN_MAX, open).await
}

/// Puts a bound on what a broker is asked.
///
/// # Errors
/// What `call` fails with, or that it took longer than `max`.
pub async fn within<T>(
    max: Duration,
    call: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, lapin::Error> {
    match tokio::time::timeout(max, call).await {
        Ok(result) => result,
        Err(_) => {
            let what = format!("the broker did not answer within {} s", max.as_secs());
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, what).into())
        }
    }
}

async fn connect(url: &str, name: &str) -> Result<Connection, lapin::Error> {
    let mut uri: AMQPUri = url.parse().map_err(|message: String| {
        lapin::Error::from(std::io::Error::new(std::io::ErrorKind::InvalidInput, message))
    })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.connection_timeout.get_or_insert(CONNECT_MAX_MS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(uri, properties).await
}

/// Whether both queues exist. Asking for one that does not closes the channel, so it has its own.
async fn exists(connection: &Connection, topology: &Topology) -> Result<bool, lapin::Error> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    for queue in [topology.queue, topology.dead_queue] {
        let asked = channel.queue_declare(ShortString::from(queue), options, FieldTable::default());
        match asked.await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    channel.close(200, "asked".into()).await?;
    Ok(true)
}

/// Messages of a queue that wait for a consumer.
///
/// # Errors
/// When there is no such queue or the broker is away.
pub async fn depth(channel: &Channel, queue: &str) -> Result<u32, lapin::Error> {
    Ok(look(channel, queue).await?.0)
}

/// Messages that wait in a queue, and how many consume it.
///
/// # Errors
/// When the queue does not exist or the broker is away.
pub async fn look(channel: &Channel, queue: &str) -> Result<(u32, u32), lapin::Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(ShortString::from(queue), options, FieldTable::default());
    let queue = asked.await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

fn is_not_found(error: &lapin::Error) -> bool {
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else { return false };
    error.get_id() == 404
}

/// Declares exchanges, queues and bindings; harmless when they exist with the same arguments.
async fn declare(
    channel: &Channel,
    topology: &Topology,
    settles: Duration,
) -> Result<(), lapin::Error> {
    // RabbitMQ 4 drops what was looked at twenty times, unless told otherwise.
    let limit = AMQPValue::LongLongInt(topology.delivery_limit);
    let mut dead = quorum_arguments();
    dead.insert("x-delivery-limit".into(), limit.clone());
    declare_queue(channel, topology.dead_queue, dead).await?;
    let mut arguments = quorum_arguments();
    arguments.insert("x-dead-letter-exchange".into(), text(topology.dead_exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(topology.dead_queue));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    // At-least-once dead-lettering needs it; a full queue then refuses instead of dropping.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(topology.length_max));
    arguments.insert("x-delivery-limit".into(), limit);
    declare_queue(channel, topology.queue, arguments).await?;
    tokio::time::sleep(settles).await;
    bind(channel, topology.dead_exchange, topology.dead_queue, topology.dead_queue).await?;
    bind(channel, topology.exchange, topology.queue, topology.routing_key).await
}

fn quorum_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(ShortString::from(name), options, arguments).await?;
    Ok(())
}

async fn bind(
    channel: &Channel,
    exchange: &str,
    queue: &str,
    routing_key: &str,
) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(
            ShortString::from(exchange),
            ExchangeKind::Direct,
            options,
            FieldTable::default(),
        )
        .await?;
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
