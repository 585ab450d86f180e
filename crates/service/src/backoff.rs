//! Capped exponential backoff with full jitter.
//!
//! Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
//! Invariant: no delay is longer than the cap; randomness comes in through [`jitter`].

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait before trying again, growing with each failure in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// For a connection to a server: 50 ms, then up to 2 s, so that a server that comes back is
    /// found within 2 s and one that stays away is not hammered.
    pub const fn for_connection() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// Starts with delays up to `base` and never exceeds `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts a failure and returns the delay before the next try. `random` is in 0.0 to 1.0.
    pub fn next_delay(&mut self, random: f64) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        // Half fixed, half random: never a hot loop, never a herd.
        ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Forgets the failures after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Sleeps for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay(jitter())).await;
    }
}

/// A random number in 0.0 to 1.0. Not for secrets.
pub fn jitter() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let fraction = bits as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let delays: Vec<_> = (0..4).map(|_| backoff.next_delay(1.0).as_millis()).collect();
        assert_eq!(delays, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next_delay(0.0).as_millis(), 50);
    }

    #[test]
    fn a_server_away_for_a_year_does_not_overflow() {
        let mut backoff = Backoff::for_connection();
        for _ in 0..100_000 {
            assert!(backoff.next_delay(jitter()) <= Duration::from_secs(2));
        }
    }
}
