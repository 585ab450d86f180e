//! Redis time as this edge knows it, learnt from replies.
//!
//! Deadlines and sale windows follow Redis, so that an edge whose own clock is wrong sells neither
//! early nor late. Invariant: the estimate is never ahead of Redis at the moment it was learnt, so
//! a deadline made from it is never later than meant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;
use std::time::{SystemTime, UNIX_EPOCH};

/// No reply has been seen yet.
const UNKNOWN: i64 = i64::MIN;

/// Redis time minus a monotonic clock of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisClock {
    started: Instant,
    offset_ms: Arc<AtomicI64>,
}

impl Default for RedisClock {
    fn default() -> Self {
        Self { started: Instant::now(), offset_ms: Arc::new(AtomicI64::new(UNKNOWN)) }
    }
}

impl RedisClock {
    /// Takes in the time a reply carried, received at `received`.
    pub fn learn(&self, redis_ms: i64, received: Instant) {
        // The script ran before the reply arrived: the estimate lags by the way back. The newest
        // reply wins, so a Redis whose clock was set is followed in either direction.
        let offset = redis_ms.saturating_sub(self.local_ms(received));
        self.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Whether any reply was seen.
    pub fn is_known(&self) -> bool {
        self.offset_ms.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Redis time at a local instant; `None` before the first reply.
    pub fn redis_ms(&self, at: Instant) -> Option<i64> {
        match self.offset_ms.load(Ordering::Relaxed) {
            UNKNOWN => None,
            offset => Some(offset.saturating_add(self.local_ms(at))),
        }
    }

    /// Redis time now, for people to look at; this machine's clock before the first reply.
    pub fn now_ms(&self) -> i64 {
        self.redis_ms(Instant::now()).unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    fn local_ms(&self, at: Instant) -> i64 {
        // Saturates at 0 for an instant before the clock was made; rounds down.
        i64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_in_redis_time_is_never_later_than_meant() {
        let clock = RedisClock::default();
        let sent = clock.started + Duration::from_millis(1_000);
        // Redis read 5,000,000 at local 1,004; the reply arrived at 1,010.
        clock.learn(5_000_000, sent + Duration::from_millis(10));
        let deadline = clock.redis_ms(sent + Duration::from_millis(500)).unwrap();
        assert!(deadline <= 5_000_000 + 496, "{deadline}");
        assert!(deadline >= 5_000_000 + 490 - 1, "{deadline}");
    }

    #[test]
    fn a_redis_clock_that_was_set_back_is_followed() {
        let clock = RedisClock::default();
        assert_eq!(clock.redis_ms(clock.started), None);
        clock.learn(9_000, clock.started);
        clock.learn(3_000, clock.started + Duration::from_millis(5));
        assert_eq!(clock.redis_ms(clock.started + Duration::from_millis(5)), Some(3_000));
    }

    #[test]
    fn an_unknown_clock_shows_this_machines_time() {
        let clock = RedisClock::default();
        assert!(!clock.is_known());
        assert!(clock.now_ms() > 1_600_000_000_000);
    }
}
