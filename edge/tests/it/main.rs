//! Integration tests of the edge against real servers that each test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod fixture;
mod fuzz;
mod life;
mod limits;
mod parking;
mod raw;
mod socket;
mod unread;
