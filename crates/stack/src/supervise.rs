//! Keeps one process running: starts it again at once when it dies, stops it when told.
//!
//! A process that had been ready is started again without delay; one that keeps dying before it is
//! ready waits longer each time. Invariant: before a process is started again, everything its
//! predecessor started is dead (orphans would hold its port or its shared memory).

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};

use crate::data_dir::{DataDir, Running};
use crate::process::{ProcessStatus, Spec, State};
use crate::signal;

/// First wait after a process died before it was ready.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
/// Longest wait.
const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// How often a process that is not ready is asked.
const READY_POLL: Duration = Duration::from_millis(25);

/// How long to wait before a process is started again.
fn restart_delay(was_ready: bool, failures: u32) -> Duration {
    if was_ready {
        return Duration::ZERO;
    }
    BACKOFF_BASE.saturating_mul(1 << failures.min(10)).min(BACKOFF_CAP)
}

/// What the stack shares with its processes.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: DataDir,
    /// Set once: nothing is started any more.
    pub(crate) stopping: AtomicBool,
    pub(crate) verbose: bool,
    statuses: Mutex<BTreeMap<String, ProcessStatus>>,
}

impl Shared {
    pub(crate) fn new(dir: DataDir, verbose: bool) -> Self {
        Self {
            dir,
            stopping: AtomicBool::new(false),
            verbose,
            statuses: Mutex::new(BTreeMap::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ProcessStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self, name: &str) -> Option<ProcessStatus> {
        self.lock().get(name).cloned()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.lock().values().map(|status| status.pid).filter(|pid| *pid != 0).collect()
    }

    fn set(&self, spec: &Spec, pid: u32, state: State) {
        let mut statuses = self.lock();
        let status = ProcessStatus { name: spec.name.clone(), pid, url: spec.url.clone(), state };
        let before = statuses.insert(spec.name.clone(), status);
        if before.map(|status| status.pid) != Some(pid) {
            let running = statuses.iter().filter_map(|(name, status)| {
                Some((name.clone(), Running::of(status.pid).filter(|_| status.pid != 0)?))
            });
            // Only a start after a kill needs it; a full disk must not stop supervision.
            let _ = self.dir.record(&running.collect());
        }
    }

    pub(crate) fn say(&self, name: &str, what: &str) {
        if self.verbose {
            crate::cli::say(&format!("  {name:<10} {what}"));
        }
    }
}

/// What a process can be told.
enum Order {
    Stop(oneshot::Sender<()>),
    Start(oneshot::Sender<()>),
}

/// A supervised process. Dropping it leaves the process to [`Shared::pids`] and its owner.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) spec: Arc<Spec>,
    orders: mpsc::Sender<Order>,
}

impl Supervised {
    /// Starts the process and keeps it running.
    pub(crate) fn start(spec: Spec, shared: Arc<Shared>) -> Self {
        let spec = Arc::new(spec);
        let (orders, inbox) = mpsc::channel(8);
        shared.set(&spec, 0, State::Starting);
        let supervisor = Supervisor { spec: spec.clone(), shared, failures: 0 };
        tokio::spawn(supervisor.run(inbox));
        Self { spec, orders }
    }

    /// Stops it and keeps it down.
    pub(crate) fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let orders = self.orders.clone();
        async move {
            let (done, wait) = oneshot::channel();
            if orders.send(Order::Stop(done)).await.is_ok() {
                let _ = wait.await;
            }
        }
    }

    /// Starts it after a stop.
    pub(crate) async fn resume(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Start(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

struct Supervisor {
    spec: Arc<Spec>,
    shared: Arc<Shared>,
    failures: u32,
}

/// Why a life of the process ended.
enum End {
    Died { status: std::io::Result<ExitStatus>, was_ready: bool },
    Stopped(oneshot::Sender<()>),
    Abandoned,
}

impl Supervisor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        while !self.shared.stopping.load(Ordering::SeqCst) {
            let end = match self.spawn() {
                Ok(child) => self.live(child, &mut inbox).await,
                Err(error) => End::Died { status: Err(error), was_ready: false },
            };
            let stopped = match end {
                End::Abandoned => return,
                End::Stopped(done) => Some(done),
                End::Died { status, was_ready } => {
                    self.after_death(&status, was_ready, &mut inbox).await
                }
            };
            if let Some(done) = stopped {
                self.shared.set(&self.spec, 0, State::Stopped);
                let _ = done.send(());
                let Some(started) = wait_for_start(&mut inbox).await else { return };
                self.failures = 0;
                self.shared.set(&self.spec, 0, State::Starting);
                let _ = started.send(());
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.shared.dir.log(&self.spec.name))?;
        self.spec
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
    }

    async fn live(&self, mut child: Child, inbox: &mut mpsc::Receiver<Order>) -> End {
        let pid = child.id().unwrap_or(0);
        self.shared.set(&self.spec, pid, State::Starting);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(keep_output(stdout, self.spec.clone(), self.shared.clone()));
        }
        let mut was_ready = false;
        loop {
            tokio::select! {
                status = child.wait() => {
                    signal::end_group(pid).await;
                    return End::Died { status, was_ready };
                }
                order = inbox.recv() => match order {
                    Some(Order::Stop(done)) => {
                        self.terminate(&mut child, pid).await;
                        return End::Stopped(done);
                    }
                    Some(Order::Start(done)) => drop(done.send(())),
                    None => return End::Abandoned,
                },
                ready = self.becomes_ready(), if !was_ready => {
                    was_ready = ready;
                    self.shared.set(&self.spec, pid, State::Running);
                }
            }
        }
    }

    async fn becomes_ready(&self) -> bool {
        while !self.spec.ready.check().await {
            tokio::time::sleep(READY_POLL).await;
        }
        true
    }

    async fn terminate(&self, child: &mut Child, pid: u32) {
        let _ = signal::send(pid, Signal::TERM);
        // A frozen process takes no SIGTERM before it is thawed.
        let _ = signal::send(pid, Signal::CONT);
        if tokio::time::timeout(self.spec.grace, child.wait()).await.is_err() {
            self.shared.say(&self.spec.name, "did not stop in time: killed");
        }
        signal::kill_group(pid);
        let _ = child.wait().await;
        signal::end_group(pid).await;
    }

    /// Says that the process died and waits before the next start; a stop that came meanwhile.
    async fn after_death(
        &mut self,
        status: &std::io::Result<ExitStatus>,
        was_ready: bool,
        inbox: &mut mpsc::Receiver<Order>,
    ) -> Option<oneshot::Sender<()>> {
        self.failures = if was_ready { 0 } else { self.failures + 1 };
        let delay = restart_delay(was_ready, self.failures);
        let what = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.shared.say(&self.spec.name, &format!("ended ({what}): starting it again"));
        let state = if was_ready { State::Starting } else { State::Failed };
        self.shared.set(&self.spec, 0, state);
        let wake = tokio::time::sleep(delay);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => return None,
                order = inbox.recv() => match order {
                    Some(Order::Stop(done)) => return Some(done),
                    Some(Order::Start(done)) => drop(done.send(())),
                    None => return None,
                },
            }
        }
    }
}

/// `None` when the stack is gone.
async fn wait_for_start(inbox: &mut mpsc::Receiver<Order>) -> Option<oneshot::Sender<()>> {
    loop {
        match inbox.recv().await? {
            Order::Start(done) => return Some(done),
            Order::Stop(done) => drop(done.send(())),
        }
    }
}

/// Copies stdout to the log, and what is meant for people to the terminal.
async fn keep_output(stdout: ChildStdout, spec: Arc<Spec>, shared: Arc<Shared>) {
    let copy = async {
        let log = tokio::fs::OpenOptions::new()
            .append(true)
            .open(shared.dir.log(&spec.name))
            .await
            .context("opening a log")?;
        let mut log = tokio::io::BufWriter::new(log);
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            log.write_all(line.as_bytes()).await?;
            log.write_all(b"\n").await?;
            log.flush().await?;
            if line.starts_with('✅') {
                shared.say(&spec.name, &line);
            }
        }
        anyhow::Ok(())
    };
    if let Err(error) = copy.await {
        shared.say(&spec.name, &format!("its output is not kept: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_ready_starts_again_at_once_and_a_broken_one_ever_later() {
        assert_eq!(restart_delay(true, 9), Duration::ZERO);
        let delays: Vec<_> = (0..8).map(|n| restart_delay(false, n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(restart_delay(false, u32::MAX), BACKOFF_CAP);
    }
}
