//! How long a batch waits for company. Pure: what waits and what was called before in, a duration
//! out.
//!
//! A batch waits for the one before it: what arrives between a call to Redis and the broker's
//! confirm shares the next call, message and wake-up. The slower these are, as on a machine that is
//! full, the larger batches become. Where they are fast, calls under load still begin at most so
//! often, as each costs the same whatever its size.
//! Invariant: nobody waits when no batch is under way and the last one was small or long ago.

use std::time::Duration;

/// A batch this large is worth no further wait: one call costs little more an order than a larger.
const TARGET: usize = 128;
/// Shortest time between the beginnings of two calls under load. With less, more of the machine
/// goes into calls, messages and wake-ups; with more, buyers only wait longer (perf/RESULTS.md).
const PERIOD: Duration = Duration::from_millis(6);
/// A call for fewer requests is no load.
const COMPANY_MIN: usize = 2;

/// How long a batch of `waiting` requests waits for the one before it at most.
pub(super) fn linger(waiting: usize, batch_max: usize, linger_max: Duration) -> Duration {
    if waiting >= TARGET.min(batch_max) { Duration::ZERO } else { linger_max }
}

/// The last call: how many requests it was for, and how long ago it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) requests: usize,
    pub(super) since: Duration,
}

/// How long a batch gathers after `last`, given how long it may [`linger`].
pub(super) fn gather(last: Last, linger: Duration) -> Duration {
    if last.requests < COMPANY_MIN {
        return Duration::ZERO;
    }
    PERIOD.min(linger).saturating_sub(last.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(10);
    const JUST_NOW: Duration = Duration::from_millis(1);

    #[test]
    fn a_batch_waits_until_it_is_worth_a_call() {
        assert_eq!(linger(1, 256, MAX), MAX);
        assert_eq!(linger(TARGET, 256, MAX), Duration::ZERO);
        assert_eq!(linger(8, 8, MAX), Duration::ZERO, "full");
    }

    #[test]
    fn batches_of_one_never_wait() {
        assert_eq!(linger(1, 1, MAX), Duration::ZERO);
        assert_eq!(gather(Last { requests: 8, since: JUST_NOW }, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn under_load_calls_begin_a_period_apart() {
        let last = |requests, since| Last { requests, since };
        assert_eq!(gather(last(2, JUST_NOW), MAX), PERIOD - JUST_NOW);
        assert_eq!(gather(last(2, PERIOD), MAX), Duration::ZERO, "long ago");
        assert_eq!(gather(last(1, JUST_NOW), MAX), Duration::ZERO, "no load");
        assert_eq!(gather(last(2, Duration::ZERO), JUST_NOW), JUST_NOW, "no longer than allowed");
    }
}
