//! What a process needs before it can do its work, and which of it is missing.
//!
//! Invariant: reading takes no lock; a part reports itself, nobody asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The parts of one process, each ready or not.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    parts: Vec<(&'static str, Part)>,
}

/// One part's flag, held by whoever knows.
#[derive(Debug, Clone, Default)]
pub struct Part(Arc<AtomicBool>);

impl Part {
    /// Says whether the part works now.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether the part works now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Readiness {
    /// Adds a part that is not ready yet.
    pub fn part(&mut self, name: &'static str) -> Part {
        let part = Part::default();
        self.parts.push((name, part.clone()));
        part
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|(_, part)| part.get())
    }

    /// One line a part, `name ok` or `name missing`, in the order they were added.
    pub fn report(&self) -> String {
        self.parts
            .iter()
            .map(|(name, part)| format!("{name} {}\n", if part.get() { "ok" } else { "missing" }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missing_part_makes_the_process_not_ready() {
        let mut readiness = Readiness::default();
        let (redis, broker) = (readiness.part("redis"), readiness.part("broker"));
        redis.set(true);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "redis ok\nbroker missing\n");
        broker.set(true);
        assert!(readiness.is_ready());
    }
}
