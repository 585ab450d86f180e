//! Integration tests of the whole system, on real servers each test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod servers;
mod wait;
