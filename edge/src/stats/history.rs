//! The last few seconds of one process.
//!
//! Invariant: figures of two lives of a process, or from before and after a silence, are never
//! compared.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whoever says nothing for longer says nothing about now: three contributions in a row are lost.
pub(super) const SILENT: Duration = Duration::from_secs(3);
/// Figures kept of one process at most. It speaks once a second; one that speaks oftener is known
/// for a shorter time.
const SAMPLES_MAX: usize = 16;

/// What was said at one time.
#[derive(Debug)]
struct Sample<T> {
    heard: Instant,
    uptime_ms: u64,
    figures: T,
}

/// What one process said, oldest first.
#[derive(Debug)]
pub(super) struct History<T> {
    started_ms: i64,
    ready: bool,
    samples: VecDeque<Sample<T>>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { started_ms: 0, ready: false, samples: VecDeque::new() }
    }
}

impl<T: Default> History<T> {
    /// Takes figures heard `now`; those of the last `window` are kept, and two at least.
    pub(super) fn take(
        &mut self,
        (started_ms, uptime_ms, ready): (i64, u64, bool),
        figures: T,
        window: Duration,
        now: Instant,
    ) {
        let same_life = self.started_ms == started_ms;
        if same_life && self.samples.back().is_some_and(|last| last.uptime_ms >= uptime_ms) {
            // Its own words come back to whoever published them.
            return;
        }
        if !same_life || self.age(now) > SILENT {
            self.samples.clear();
        }
        self.started_ms = started_ms;
        self.ready = ready;
        let uptime = Duration::from_millis(uptime_ms);
        if self.samples.is_empty() && uptime_ms > 0 && uptime <= SILENT {
            // It counted all of it just now, from zero.
            let heard = now.checked_sub(uptime).unwrap_or(now);
            self.samples.push_back(Sample { heard, uptime_ms: 0, figures: T::default() });
        }
        self.samples.push_back(Sample { heard: now, uptime_ms, figures });
        while self.samples.len() > 2
            && (self.samples.len() > SAMPLES_MAX
                || now.saturating_duration_since(self.samples[1].heard) >= window)
        {
            self.samples.pop_front();
        }
    }
}

impl<T> History<T> {
    /// How long ago it was heard; for ever when it never was.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let last = self.samples.back();
        last.map_or(Duration::MAX, |last| now.saturating_duration_since(last.heard))
    }

    /// Whether it said so, and not long ago.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.ready && self.age(now) <= SILENT
    }

    /// What it said last.
    pub(super) fn newest(&self) -> Option<&T> {
        self.samples.back().map(|sample| &sample.figures)
    }

    /// The oldest figures and the newest; `None` while it is silent.
    pub(super) fn span(&self, now: Instant) -> Option<(&T, &T)> {
        let (oldest, newest) = (self.samples.front()?, self.samples.back()?);
        (self.age(now) <= SILENT).then_some((&oldest.figures, &newest.figures))
    }

    /// What was counted a second between its last two figures; 0 while it is silent, or was heard
    /// once.
    pub(super) fn rate(&self, now: Instant, count: impl Fn(&T) -> u64) -> f64 {
        let mut latest = self.samples.iter().rev();
        let (Some(newest), Some(before)) = (latest.next(), latest.next()) else { return 0.0 };
        if self.age(now) > SILENT {
            return 0.0;
        }
        let counted = count(&newest.figures).saturating_sub(count(&before.figures));
        // Figures with the same uptime are not taken, so this is no division by zero.
        let elapsed_ms = newest.uptime_ms.saturating_sub(before.uptime_ms);
        counted as f64 * 1000.0 / elapsed_ms as f64
    }
}
