//! The edge: answers buyers over HTTP and shows the stock over WebSocket.
//!
//! Owns micro-batching, publishing with confirms, and the feed's fan-out; leaves recording orders
//! to the settler. Invariant: a 202 means that exactly one outcome will be recorded.

pub mod app;
pub mod feed;
pub mod holds;
pub mod http;
pub mod metrics;
pub mod publish;
pub mod read;
pub mod reserve;
pub mod server;
pub mod settings;
pub mod stats;
