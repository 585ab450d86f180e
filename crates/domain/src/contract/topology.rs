//! Names and limits of the RabbitMQ topology, which both programs declare.
//!
//! Invariant: queue arguments are immutable in RabbitMQ (a change answers 406), so a change here
//! is a migration of the queue.

/// Direct exchange orders are published to.
pub const EXCHANGE: &str = "orders";
/// Quorum queue bound to it by [`ROUTING_KEY`].
pub const QUEUE: &str = "orders";
/// Routing key of an order message.
pub const ROUTING_KEY: &str = "orders";
/// Exchange dead letters go to.
pub const DEAD_EXCHANGE: &str = "orders.dead";
/// Queue of messages that no settler can read.
pub const DEAD_QUEUE: &str = "orders.dead";
/// A far backstop only: good messages held by a crashing consumer count as delivered each time.
pub const DELIVERY_LIMIT: i64 = 1_000_000;
/// Messages the orders queue holds at most; a publish beyond is refused. While nothing is settled
/// the queue fills, then the outbox, then buyers are turned away: some five minutes at 300 messages
/// a second, and some hundred MB on the broker's disk, before its own alarms would stop everybody.
pub const QUEUE_LENGTH_MAX: i64 = 100_000;
/// Header of a dead letter that says why it was refused.
pub const DEAD_REASON_HEADER: &str = "x-dead-reason";
