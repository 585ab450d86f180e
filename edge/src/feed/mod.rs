//! The feed: one subscription to Redis, one encoding of each change, many WebSocket clients.
//!
//! Owns the newest frame of every sale and who waits for which order; leaves the shapes to
//! `domain::contract`. Invariant: (epoch, rev) of a product never goes back, here or at a client.

mod board;
mod inbound;
mod masked;
mod socket;
mod subscriber;
mod view;
mod watchers;

pub use board::{Board, BoardReader, Slot};
pub use socket::{Feed, Scope, serve_client};
pub use subscriber::Subscriber;
pub use view::with_views;
pub use watchers::Watchers;
