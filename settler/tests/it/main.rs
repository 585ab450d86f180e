//! Integration tests of the settler against real servers that each test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adjust;
mod consume;
mod dead;
mod fixture;
mod holds;
mod model;
mod reserve_reply;
mod settle;
mod vouch;
