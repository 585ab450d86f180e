//! A broker's queue: at least once, in any order.
//!
//! Invariant: a message that was confirmed leaves only by an acknowledgement or with the queue.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::executor::Process;

/// A delivery: its tag and its body.
pub(crate) type Delivery = (u64, Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: Vec<Vec<u8>>,
    unacked: BTreeMap<(Process, u64), Vec<u8>>,
    tags: u64,
}

impl Queue {
    pub(crate) fn publish(&mut self, body: &[u8]) {
        self.ready.push(body.to_vec());
    }

    /// Any message, not the oldest.
    pub(crate) fn deliver(&mut self, to: Process, dice: &mut Rng) -> Option<Delivery> {
        if self.ready.is_empty() {
            return None;
        }
        let body = self.ready.swap_remove(dice.usize(..self.ready.len()));
        self.tags += 1;
        self.unacked.insert((to, self.tags), body.clone());
        Some((self.tags, body))
    }

    pub(crate) fn ack(&mut self, by: Process, tags: &[u64]) {
        for tag in tags {
            self.unacked.remove(&(by, *tag));
        }
    }

    /// The consumer is gone: what it had comes again.
    pub(crate) fn requeue(&mut self, consumer: Process) {
        let (gone, rest) = std::mem::take(&mut self.unacked)
            .into_iter()
            .partition(|((owner, _), _)| *owner == consumer);
        self.unacked = rest;
        self.ready.extend(BTreeMap::into_values(gone));
    }

    /// Somebody deletes the queue with its backlog.
    pub(crate) fn delete(&mut self) {
        self.ready.clear();
        self.unacked.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unacked.is_empty()
    }
}
