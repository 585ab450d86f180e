//! Whose turn it is: one batch at a time is on its way from its call to the broker's confirm.
//!
//! Owns how long that takes of late. Whoever does not want to wait any longer goes along with the
//! batch before. Invariant: a turn ends with its [`Way`], whatever became of the batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of the mean the newest way is, as one in so many: a single stall is no new pace.
const SMOOTHING: u32 = 8;

/// Shared by the loop of a product and the batches it sent on their way.
#[derive(Debug)]
pub(super) struct Turn {
    gate: Arc<Semaphore>,
    took_micros: AtomicU32,
}

/// A batch's way.
#[derive(Debug)]
pub(super) struct Way {
    turn: Arc<Turn>,
    began: Instant,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Nobody is on the way.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { gate: Arc::new(Semaphore::new(1)), took_micros: AtomicU32::new(0) })
    }

    /// Begins a way once the one before it ended, or after `wait_max`.
    pub(super) async fn begin(self: &Arc<Self>, wait_max: Duration) -> Way {
        let permit = tokio::time::timeout(wait_max, self.gate.clone().acquire_owned());
        let _permit = permit.await.ok().and_then(Result::ok);
        Way { turn: self.clone(), began: Instant::now(), _permit }
    }

    /// How long the ways of late took; nothing before the first.
    pub(super) fn took(&self) -> Duration {
        Duration::from_micros(self.took_micros.load(Ordering::Relaxed).into())
    }

    fn note(&self, took: Duration) {
        let newest = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let mean = self.took_micros.load(Ordering::Relaxed);
        let mean = mean - mean / SMOOTHING + newest / SMOOTHING;
        self.took_micros.store(mean, Ordering::Relaxed);
    }
}

impl Way {
    /// The broker confirmed the batch.
    pub(super) fn confirmed(self) {
        self.turn.note(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_way_takes_is_learned_and_a_stall_is_not_the_pace() {
        let turn = Turn::new();
        assert_eq!(turn.took(), Duration::ZERO);
        for _ in 0..100 {
            turn.note(Duration::from_millis(2));
        }
        let learned = turn.took();
        assert!(learned > Duration::from_micros(1900) && learned <= Duration::from_millis(2));
        turn.note(Duration::from_millis(10));
        assert!(turn.took() < Duration::from_micros(3200), "{:?}", turn.took());
        turn.note(Duration::from_secs(7200));
        turn.note(Duration::MAX);
        assert!(turn.took() > Duration::from_secs(1), "no overflow");
    }

    #[tokio::test]
    async fn one_is_on_the_way_unless_the_wait_is_too_long() {
        let turn = Turn::new();
        let first = turn.begin(Duration::ZERO).await;
        assert!(first._permit.is_some());
        assert!(turn.begin(Duration::ZERO).await._permit.is_none(), "goes along");
        drop(first);
        assert!(turn.begin(Duration::ZERO).await._permit.is_some());
    }
}
