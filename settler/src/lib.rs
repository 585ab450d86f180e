//! The settler: records queued orders in PostgreSQL and keeps the Redis gate in front of it.
//!
//! Owns settlement, vouching and the relay; leaves HTTP to the edge and the effects log to `books`.
//! Invariant: a delivery is acknowledged only after the transaction that settled it committed.

pub mod app;
pub mod codes;
pub mod commands;
pub mod consume;
pub mod dead;
pub mod expiry;
pub mod gatekeeper;
pub mod metrics;
mod preflight;
pub mod reconcile;
pub mod relay;
pub mod report;
pub mod sale_command;
pub mod settings;
pub mod settle;
pub mod stats;
pub mod sweeper;
