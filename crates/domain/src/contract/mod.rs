//! The wire contract: every shape that crosses a process boundary, and nothing else.
//!
//! Owns JSON over HTTP, WebSocket, AMQP and Pub/Sub, Redis key names and AMQP names. Public ids
//! are JSON numbers, times are RFC 3339 UTC, money is in minor units (ISO 4217).
//! Invariant: this is the only module of the project's programs that derives `Serialize`.

pub mod admin;
pub mod admin_view;
pub mod buy;
pub mod dead_letter;
pub mod feed;
pub mod keys;
pub mod order_message;
pub mod order_view;
pub mod outbox;
pub mod problem;
pub mod product_view;
pub mod reconcile;
pub mod rfc3339;
pub mod socket;
pub mod stats;
pub mod stats_frame;
pub mod strict;
pub mod topology;
