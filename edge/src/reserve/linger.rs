//! How long a batch waits for company. Pure: what waits, what was called before and how long that
//! took in, a duration out.
//!
//! A batch waits for the one before it: what arrives between a call to Redis and the broker's
//! confirm shares the next call, message and wake-up. Under load calls begin some such ways apart,
//! as each costs the same whatever its size. The slower they are, as on a machine that is full, the
//! larger batches become; where they are fast, nobody waits longer than a few of them take.
//! Invariant: nobody waits when no batch is under way and the last one was small or long ago.

use std::time::Duration;

/// A batch this large is worth no further wait: one call costs little more an order than a larger.
const TARGET: usize = 128;
/// How many times what a batch takes lies between the beginnings of two calls under load. With
/// less, more of the machine goes into calls, messages and wake-ups; with more, buyers only wait
/// longer (perf/RESULTS.md).
const WAYS_APART: u32 = 2;
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

/// How long a batch gathers after `last`, when batches take so long from the call to the confirm,
/// given how long it may [`linger`].
pub(super) fn gather(last: Last, took: Duration, linger: Duration) -> Duration {
    if last.requests < COMPANY_MIN {
        return Duration::ZERO;
    }
    took.saturating_mul(WAYS_APART).min(linger).saturating_sub(last.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(10);
    const JUST_NOW: Duration = Duration::from_millis(1);
    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn a_batch_waits_until_it_is_worth_a_call() {
        assert_eq!(linger(1, 256, MAX), MAX);
        assert_eq!(linger(TARGET, 256, MAX), Duration::ZERO);
        assert_eq!(linger(8, 8, MAX), Duration::ZERO, "full");
    }

    #[test]
    fn batches_of_one_never_wait() {
        assert_eq!(linger(1, 1, MAX), Duration::ZERO);
        let last = Last { requests: 8, since: JUST_NOW };
        assert_eq!(gather(last, TOOK, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn under_load_calls_begin_as_far_apart_as_two_of_them_take() {
        let last = |requests, since| Last { requests, since };
        assert_eq!(gather(last(2, JUST_NOW), TOOK, MAX), 2 * TOOK - JUST_NOW);
        assert_eq!(gather(last(2, 2 * TOOK), TOOK, MAX), Duration::ZERO, "long ago");
        assert_eq!(gather(last(1, JUST_NOW), TOOK, MAX), Duration::ZERO, "no load");
        assert_eq!(
            gather(last(2, Duration::ZERO), Duration::MAX, MAX),
            MAX,
            "no longer than allowed"
        );
        assert_eq!(gather(last(2, JUST_NOW), Duration::ZERO, MAX), Duration::ZERO, "the first");
    }
}
