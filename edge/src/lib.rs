//! The HTTP and WebSocket server of the flash-sale engine.
//!
//! Owns everything between a buyer and the queue: reads requests strictly, reserves in Redis in
//! micro-batches, publishes accepted orders with confirms, and passes the feed on. Leaves
//! settling, vouching and relaying to the settler.
//!
//! Invariant: the modules import each other only along
//! main → app → server → http, feed → reserve, publish, read.

pub mod app;
pub mod feed;
pub mod http;
pub mod metrics;
pub mod publish;
pub mod read;
pub mod reserve;
pub mod server;
pub mod settings;
