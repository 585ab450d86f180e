//! Process plumbing the edge and the settler share: telemetry, readiness, shutdown, backoff, and
//! connections to Redis, RabbitMQ and PostgreSQL that come back by themselves.
//!
//! Invariant: this crate knows no domain; names of keys, queues and tables come in as arguments.

pub mod amqp;
pub mod backoff;
pub mod healthcheck;
pub mod kill_point;
pub mod limits;
pub mod postgres;
pub mod probe;
pub mod readiness;
mod redis_cluster;
mod redis_node;
pub mod redis_pool;
pub mod redis_reply;
mod redis_slots;
mod redis_url;
pub mod script_codes;
pub mod settings;
pub mod shutdown;
pub mod speaker;
pub mod telemetry;
pub mod trace;
