//! Whether a request may join those that wait for a call, or is better told at once that it would
//! wait in vain.
//!
//! Owns the estimate of the wait: batches before it times what a batch took last. A sale that is
//! closed gives no new figure, so what waits for it to open is bounded by count and age alone.
//! Invariant: one batch may always wait, so that there is always a next figure.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How soon batches follow each other. Written by the loop of a product, read by every request.
#[derive(Debug, Default)]
pub(super) struct Pace {
    round_micros: AtomicU32,
}

impl Pace {
    /// Notes how long a batch took that was decided, from the one before it to the one after it.
    pub(super) fn note(&self, round: Duration) {
        let micros = u32::try_from(round.as_micros()).unwrap_or(u32::MAX);
        self.round_micros.store(micros, Ordering::Relaxed);
    }

    /// How long the last one took; nothing before the first.
    pub(super) fn round(&self) -> Duration {
        Duration::from_micros(self.round_micros.load(Ordering::Relaxed).into())
    }
}

/// Whether one more request may wait behind `waiting` others, when a batch of up to `batch_max`
/// takes `round` and nobody should wait longer than `wait_max`.
pub(super) fn admits(
    waiting: usize,
    batch_max: usize,
    round: Duration,
    wait_max: Duration,
) -> bool {
    let batches = u32::try_from(waiting / batch_max).unwrap_or(u32::MAX);
    batches == 0 || round.saturating_mul(batches) <= wait_max
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MAX: Duration = Duration::from_millis(500);

    fn admits_at(waiting: usize, round_ms: u64) -> bool {
        admits(waiting, 256, Duration::from_millis(round_ms), WAIT_MAX)
    }

    #[test]
    fn a_request_is_admitted_while_its_turn_comes_in_time() {
        assert!(admits_at(2_815, 50), "ten whole batches before it");
        assert!(!admits_at(2_816, 50), "eleven of 50 ms are more than half a second");
        assert!(admits_at(16_000, 2));
    }

    #[test]
    fn one_batch_may_always_wait() {
        assert!(admits_at(255, 60_000));
        assert!(!admits_at(256, 60_000));
    }

    #[test]
    fn before_the_first_figure_and_while_a_sale_is_closed_nobody_is_turned_away_by_it() {
        assert!(admits(1_000_000, 1, Pace::default().round(), WAIT_MAX));
    }
}
