//! Redis time as an edge knows it, learned from replies.
//!
//! Every product has a clock of its own, as the nodes of a Redis Cluster each have theirs, and the
//! feed has one for what people are shown.
//! Invariant: the estimate is never later than the node itself, so a deadline sent to it is never
//! later than meant. It is taken when a reply arrives, after the node read its clock, and forgotten
//! when a call failed or keys moved: another node may answer the next.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// No reply was seen yet.
const UNKNOWN: i64 = i64::MIN;

/// Maps this process's monotonic clock to Redis time.
#[derive(Debug)]
pub struct RedisClock {
    base: Instant,
    /// Redis time, ms since the Unix epoch, at `base`.
    at_base_ms: AtomicI64,
    /// What was known of who holds which key when it was learned.
    generation: AtomicU64,
}

impl RedisClock {
    /// A clock that knows nothing yet.
    pub fn new(base: Instant) -> Self {
        Self { base, at_base_ms: AtomicI64::new(UNKNOWN), generation: AtomicU64::new(0) }
    }

    /// Learns from a reply that carried `redis_ms` and arrived at `received`.
    pub fn learn(&self, redis_ms: i64, received: Instant) {
        self.at_base_ms.store(redis_ms - self.since_base_ms(received), Ordering::Relaxed);
    }

    /// Redis time at an instant, in ms since the Unix epoch; `None` before the first reply.
    pub fn at(&self, instant: Instant) -> Option<i64> {
        match self.at_base_ms.load(Ordering::Relaxed) {
            UNKNOWN => None,
            at_base_ms => Some(at_base_ms + self.since_base_ms(instant)),
        }
    }

    /// Redis time at an instant that is now, or this machine's before the first reply: for what
    /// people are shown.
    pub fn now_ms(&self, now: Instant) -> i64 {
        self.at(now).unwrap_or_else(system_ms)
    }

    /// Knows nothing any more when keys have moved since it was asked last.
    pub fn follow(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            self.forget();
        }
    }

    /// Knows nothing any more.
    pub fn forget(&self) {
        self.at_base_ms.store(UNKNOWN, Ordering::Relaxed);
    }

    fn since_base_ms(&self, instant: Instant) -> i64 {
        i64::try_from(instant.saturating_duration_since(self.base).as_millis()).unwrap_or(i64::MAX)
    }
}

/// This machine's time, ms since the Unix epoch.
pub fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_is_mapped_and_never_later_than_meant() {
        let base = Instant::now();
        let clock = RedisClock::new(base);
        assert_eq!(clock.at(base), None);
        // Redis read its clock at 10 ms; the reply took another 40 ms.
        clock.learn(1_000_010, base + Duration::from_millis(50));
        let true_redis_ms_at_one_second = 1_001_000;
        let mapped = clock.at(base + Duration::from_secs(1)).unwrap();
        assert_eq!(mapped, 1_000_960);
        assert!(mapped <= true_redis_ms_at_one_second);
        clock.follow(0);
        assert!(clock.at(base).is_some());
        clock.follow(1);
        assert_eq!(clock.at(base), None, "another node may hold the key");
        clock.learn(1, base);
        clock.forget();
        assert_eq!(clock.at(base), None);
    }
}
