//! How long a transaction waits for company. Pure: what was settled last in, a duration out.
//!
//! A transaction costs PostgreSQL a sync and a dozen statements whatever its size. Under load they
//! begin at most so often; what arrives meanwhile shares the next one.
//! Invariant: nobody waits when the last transaction was small or long ago.

use std::time::Duration;

/// Shortest time between the beginnings of two transactions under load, unless a batch is full: the
/// feed shows a product 20 times a second at most, so that more often would be seen by nobody.
const PERIOD: Duration = Duration::from_millis(50);
/// A transaction of fewer orders is no load.
const COMPANY_MIN: usize = 16;

/// How long the next batch gathers, `since` the last one of `orders` orders began.
pub(super) fn linger(orders: usize, since: Duration) -> Duration {
    if orders < COMPANY_MIN { Duration::ZERO } else { PERIOD.saturating_sub(since) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_load_transactions_begin_a_period_apart() {
        assert_eq!(linger(500, Duration::from_millis(5)), Duration::from_millis(45));
        assert_eq!(linger(500, PERIOD), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_when_the_system_is_idle() {
        assert_eq!(linger(0, Duration::ZERO), Duration::ZERO);
        assert_eq!(linger(COMPANY_MIN - 1, Duration::ZERO), Duration::ZERO);
    }
}
