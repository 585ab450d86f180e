//! Integration tests of the whole system, on real servers each test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod browser;
mod buyer;
mod cluster;
mod command_line;
mod compose;
mod crash;
mod crowd;
mod dockerfile;
mod documents;
mod faults;
mod holds;
mod idempotency;
mod machine;
mod monitoring;
mod openapi;
mod pages;
mod reconcile;
mod runbook;
mod sale;
mod secrets;
mod servers;
mod sold_out;
mod stats;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod trace;
mod wait;
