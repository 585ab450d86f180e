//! Runs tasks one poll at a time, in an order the dice choose.
//!
//! Owns no time and no I/O: every wait of a task is one [`turn`], after which any other task may be
//! next. Killing a process is dropping its tasks; freezing it is not polling them.
//! Invariant: the same dice make the same run.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;

/// A process. Its tasks live and die together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Process {
    /// An edge.
    Edge(usize),
    /// A settler: consumer, gatekeeper and relay.
    Settler(usize),
    /// Whoever looks on and is never killed.
    Observer,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every task that lives.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: Vec<(Process, Task)>,
}

impl Executor {
    pub(crate) fn spawn(
        &mut self,
        process: Process,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.push((process, Box::pin(task)));
    }

    /// Drops every task of a process where it stands.
    pub(crate) fn kill(&mut self, process: Process) {
        self.tasks.retain(|(owner, _)| *owner != process);
    }

    /// Polls one task of a process that `runs`; false when there is none.
    pub(crate) fn step(&mut self, dice: &mut Rng, runs: impl Fn(Process) -> bool) -> bool {
        let able: Vec<usize> = (0..self.tasks.len()).filter(|at| runs(self.tasks[*at].0)).collect();
        let Some(at) = dice.choice(able) else { return false };
        let mut context = Context::from_waker(Waker::noop());
        if self.tasks[at].1.as_mut().poll(&mut context).is_ready() {
            drop(self.tasks.swap_remove(at));
        }
        true
    }
}

/// Lets any task be next.
pub(crate) async fn turn() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}
