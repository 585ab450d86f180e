//! What is done to the system, and when: a schedule made from a seed, and one fault carried out.
//!
//! Invariant: whatever loses data of Redis comes alone, with every edge alive and the broker up
//! before and after; the double fault is no promise of the durability table.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fastrand::Rng;
use stack::{Stack, State};

use crate::outside;

/// Seconds between two faults: enough for the slowest to heal now and then, and to overlap else.
const GAP_MS: (u64, u64) = (1_500, 5_000);
/// How long what stands still stands still.
const STILL_MS: (u64, u64) = (300, 4_000);
/// How long everything may take to be up again before data of Redis is lost.
const CALM_MAX: Duration = Duration::from_secs(30);
/// How long it stays calm around that.
const CALM: Duration = Duration::from_secs(2);

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill(&'static str),
    /// SIGSTOP, and SIGCONT so many milliseconds later.
    Freeze(&'static str, u64),
    /// Stays away so many milliseconds.
    Away(&'static str, u64),
    /// Every key of Redis is gone.
    Flush,
    /// Redis is killed and the last bytes of its append-only file are lost.
    Truncate(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(name) => write!(f, "kill -9 {name}"),
            Self::Freeze(name, ms) => write!(f, "freeze {name} {ms} ms"),
            Self::Away(name, ms) => write!(f, "stop {name} {ms} ms"),
            Self::Flush => f.write_str("FLUSHALL"),
            Self::Truncate(bytes) => write!(f, "truncate AOF by {bytes} bytes"),
        }
    }
}

impl Fault {
    /// What it is, whichever of several alike it hits, and however long.
    pub(crate) fn kind(&self) -> String {
        let alike = |name: &str| name.split('-').next().unwrap_or(name).to_owned();
        match self {
            Self::Kill(name) => format!("kill -9 {}", alike(name)),
            Self::Freeze(name, _) => format!("freeze {}", alike(name)),
            Self::Away(name, _) => format!("stop {}", alike(name)),
            Self::Flush => "FLUSHALL".to_owned(),
            Self::Truncate(_) => "truncate AOF".to_owned(),
        }
    }

    /// Whether Redis forgets something it said.
    pub(crate) const fn loses_redis_data(&self) -> bool {
        matches!(self, Self::Flush | Self::Truncate(_))
    }

    fn any(dice: &mut Rng) -> Self {
        let still = |dice: &mut Rng| dice.u64(STILL_MS.0..=STILL_MS.1);
        match dice.u64(0..=17) {
            0 | 1 => Self::Kill("edge-1"),
            2 => Self::Kill("edge-2"),
            3 => Self::Kill("edge-3"),
            4 | 5 => Self::Kill("settler-1"),
            6 => Self::Kill("settler-2"),
            7 | 8 => Self::Kill("redis"),
            9 => Self::Kill("rabbitmq"),
            10 => Self::Kill("postgres"),
            11 => Self::Kill("nginx"),
            12 => Self::Freeze("edge-2", still(dice)),
            13 => Self::Freeze("settler-1", still(dice)),
            14 => Self::Freeze("redis", still(dice)),
            15 => {
                Self::Away(if dice.u64(0..=1) == 0 { "rabbitmq" } else { "postgres" }, still(dice))
            }
            16 => Self::Flush,
            _ => Self::Truncate(dice.u64(1..=4_000)),
        }
    }
}

/// Faults of a run of so long, each with the pause before it.
pub(crate) fn schedule(mut dice: Rng, run: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let pause = Duration::from_millis(dice.u64(GAP_MS.0..=GAP_MS.1));
        at += pause;
        if at >= run {
            return faults;
        }
        faults.push((pause, Fault::any(&mut dice)));
    }
}

/// Waits until a fault may come: one that loses data of Redis comes alone.
pub(crate) async fn prepare(stack: &Stack, fault: &Fault) -> anyhow::Result<()> {
    if fault.loses_redis_data() { calm(stack).await } else { Ok(()) }
}

/// Carries one out. What is killed is started again by the stack's supervisor.
pub(crate) async fn inject(stack: &Stack, fault: &Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Kill(name) => stack.kill(name, "KILL").await,
        Fault::Freeze(name, ms) => {
            stack.kill(name, "STOP").await?;
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            stack.kill(name, "CONT").await
        }
        Fault::Away(name, ms) => {
            stack.stop(name).await?;
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            stack.resume(name).await
        }
        Fault::Flush => {
            let client = redis::Client::open(stack.redis_url())?;
            let mut redis = client.get_multiplexed_async_connection().await?;
            redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
            calm(stack).await
        }
        Fault::Truncate(bytes) => {
            // Killed, not asked: a Redis that is asked writes everything first.
            stack.kill("redis", "STOP").await?;
            let cut = truncate(&stack.dir().join("redis/appendonlydir"), *bytes);
            stack.kill("redis", "KILL").await?;
            cut?;
            calm(stack).await
        }
    }
}

/// Waits until everything runs and nothing waits for the broker, and a little longer.
async fn calm(stack: &Stack) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + CALM_MAX;
    loop {
        let all_run = stack.status().processes.iter().all(|p| p.state == State::Running);
        if all_run && matches!(outside::outbox(stack).await, Ok(0)) {
            tokio::time::sleep(CALM).await;
            return Ok(());
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "not everything came back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Cuts the end off the newest incremental file.
fn truncate(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let files = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let incremental: Option<PathBuf> = files
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max();
    let path = incremental.context("Redis has no incremental append-only file")?;
    let file = std::fs::OpenOptions::new().write(true).open(&path)?;
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_schedule() {
        let run = Duration::from_secs(120);
        let first = schedule(Rng::with_seed(7), run);
        assert_eq!(first, schedule(Rng::with_seed(7), run));
        assert_ne!(first, schedule(Rng::with_seed(8), run));
        let total: Duration = first.iter().map(|(pause, _)| *pause).sum();
        assert!(total < run && first.len() > 24, "{}", first.len());
    }
}
