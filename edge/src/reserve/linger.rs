//! How long a batch waits for company. Pure: rates in, a duration out.
//!
//! On few cores purely natural batches stay tiny and wake-ups eat the machine; lingering a few
//! milliseconds under load shares one call, one message and one wake-up among many requests.
//! Invariant: nobody waits when the system is idle.

use std::time::{Duration, Instant};

/// A batch this large is worth no further wait: one call costs little more an order than a larger.
const TARGET: f64 = 64.0;
/// Fewer expected companions than this are not worth waiting for.
const COMPANY_MIN: f64 = 3.0;
/// Weight of the newest observation.
const WEIGHT: f64 = 0.3;

/// What the batcher remembers of recent load.
#[derive(Debug, Default)]
pub(super) struct Pace {
    arrivals_per_second: f64,
    last: Option<Instant>,
}

impl Pace {
    /// Notes that a batch of so many requests was taken at `now`.
    pub(super) fn note(&mut self, requests: usize, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let seconds = now.saturating_duration_since(last).as_secs_f64().max(0.000_1);
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
            let rate = requests as f64 / seconds;
            self.arrivals_per_second += WEIGHT * (rate - self.arrivals_per_second);
        }
    }

    /// How long a batch of `waiting` requests should wait for more, at most `linger_max`.
    pub(super) fn linger(
        &self,
        waiting: usize,
        batch_max: usize,
        linger_max: Duration,
    ) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 requests")]
        let (waiting, target) = (waiting as f64, TARGET.min(batch_max as f64));
        let company = self.arrivals_per_second * linger_max.as_secs_f64();
        if waiting >= target || company < COMPANY_MIN {
            return Duration::ZERO;
        }
        let seconds_to_target = (target - waiting) / self.arrivals_per_second;
        linger_max.min(Duration::from_secs_f64(seconds_to_target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(3);

    fn pace(per_second: u32) -> Pace {
        let mut pace = Pace::default();
        let start = Instant::now();
        for step in 0..50 {
            pace.note(per_second as usize / 100, start + Duration::from_millis(10) * step);
        }
        pace
    }

    #[test]
    fn nobody_waits_when_the_system_is_idle() {
        assert_eq!(Pace::default().linger(1, 256, MAX), Duration::ZERO);
        assert_eq!(pace(500).linger(1, 256, MAX), Duration::ZERO);
    }

    #[test]
    fn under_load_a_batch_waits_no_longer_than_it_takes_to_fill() {
        assert_eq!(pace(10_000).linger(1, 256, MAX), MAX);
        let fills_fast = pace(50_000).linger(4, 256, MAX);
        assert!(fills_fast < MAX && fills_fast > Duration::from_millis(1), "{fills_fast:?}");
        assert_eq!(pace(50_000).linger(64, 256, MAX), Duration::ZERO);
    }

    #[test]
    fn batches_of_one_never_wait() {
        assert_eq!(pace(50_000).linger(1, 1, MAX), Duration::ZERO);
    }

    #[test]
    fn after_a_quiet_second_nobody_waits_long_for_the_storm_that_ended() {
        let mut pace = pace(50_000);
        let later = pace.last.unwrap() + Duration::from_secs(1);
        for second in 0..20 {
            pace.note(1, later + Duration::from_secs(second));
        }
        assert_eq!(pace.linger(1, 256, MAX), Duration::ZERO);
    }
}
