//! How long a batch waits for company. Pure; time comes in as an argument.
//!
//! Natural batches (whatever arrived while the last call was in flight) stay at two or three on a
//! loaded small machine, and wake-ups eat it; a wait of 2 to 4 ms under load gave 2.5 times the
//! throughput. Invariant: an idle edge never waits, and no wait is longer than the setting.

use std::time::{Duration, Instant};

/// A wait that gains fewer requests than this costs more latency than it saves work.
const GAIN_MIN: f64 = 8.0;
/// After this long without a batch the rate is forgotten: the first of a burst does not wait.
const MEMORY: Duration = Duration::from_millis(20);
/// Weight of the newest batch in the estimate: settles within about ten batches.
const WEIGHT: f64 = 0.2;

/// The rate at which requests of one product arrive.
#[derive(Debug, Default)]
pub struct Pace {
    per_ms: f64,
    last: Option<Instant>,
}

impl Pace {
    /// How long a batch of `waiting` requests should wait for more, none when idle.
    pub fn linger(
        &self,
        waiting: usize,
        batch_max: usize,
        linger_max: Duration,
        now: Instant,
    ) -> Duration {
        let forgotten = self.last.is_none_or(|last| now.saturating_duration_since(last) > MEMORY);
        let linger_ms = linger_max.as_secs_f64() * 1000.0;
        if forgotten || waiting >= batch_max || self.per_ms * linger_ms < GAIN_MIN {
            return Duration::ZERO;
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
        let missing = (batch_max - waiting) as f64;
        linger_max.min(Duration::from_secs_f64(missing / self.per_ms / 1000.0))
    }

    /// Takes in that a batch of `requests` left at `now`.
    pub fn record(&mut self, requests: usize, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let since = now.saturating_duration_since(last);
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
        let rate = requests as f64 / (since.as_secs_f64() * 1000.0).max(0.01);
        self.per_ms =
            if since > MEMORY { rate } else { self.per_ms + WEIGHT * (rate - self.per_ms) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(3);

    /// A pace after 50 batches of `requests`, one each millisecond, and the time of the last.
    fn after_load(requests: usize) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            now += Duration::from_millis(1);
            pace.record(requests, now);
        }
        (pace, now)
    }

    #[test]
    fn an_idle_edge_never_waits() {
        let now = Instant::now();
        assert_eq!(Pace::default().linger(1, 256, MAX, now), Duration::ZERO);
        let (pace, last) = after_load(100);
        let later = last + Duration::from_millis(21);
        assert_eq!(pace.linger(1, 256, MAX, later), Duration::ZERO);
    }

    #[test]
    fn a_trickle_does_not_wait() {
        let (pace, now) = after_load(2);
        assert_eq!(pace.linger(2, 256, MAX, now), Duration::ZERO);
    }

    #[test]
    fn under_load_a_batch_waits_until_it_would_be_full_but_no_longer_than_allowed() {
        let (pace, now) = after_load(10);
        assert_eq!(pace.linger(10, 256, MAX, now), MAX);
        let (pace, now) = after_load(200);
        let linger = pace.linger(56, 256, MAX, now);
        assert!(linger > Duration::from_micros(900) && linger < Duration::from_micros(1_100));
        assert_eq!(pace.linger(256, 256, MAX, now), Duration::ZERO);
        assert_eq!(pace.linger(1, 256, Duration::ZERO, now), Duration::ZERO);
    }
}
