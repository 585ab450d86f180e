//! How long a batch waits for company. Pure: what waits in, a duration out.
//!
//! A batch waits for the one before it: what arrives between a call to Redis and the broker's
//! confirm shares the next call, message and wake-up. The slower these are, as on a machine that is
//! full, the larger batches become, and on an idle one nothing is ever under way to wait for.
//! Invariant: nobody waits when no batch is under way.

use std::time::Duration;

/// A batch this large is worth no further wait: one call costs little more an order than a larger.
const TARGET: usize = 128;

/// How long a batch of `waiting` requests waits for the one before it at most.
pub(super) fn linger(waiting: usize, batch_max: usize, linger_max: Duration) -> Duration {
    if waiting >= TARGET.min(batch_max) { Duration::ZERO } else { linger_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(3);

    #[test]
    fn a_batch_waits_until_it_is_worth_a_call() {
        assert_eq!(linger(1, 256, MAX), MAX);
        assert_eq!(linger(TARGET, 256, MAX), Duration::ZERO);
        assert_eq!(linger(8, 8, MAX), Duration::ZERO, "full");
    }

    #[test]
    fn batches_of_one_never_wait() {
        assert_eq!(linger(1, 1, MAX), Duration::ZERO);
    }
}
