//! Runs slowhttptest, which keeps connections busy by being slow, and counts what the server closed
//! of them.
//!
//! Invariant: an attack that does not stand is an error, never a quiet measurement beside nothing.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Slow connections: as many as a thousand visitors with a bad line.
pub(crate) const CONNECTIONS: usize = 1000;
/// How many are opened a second.
const A_SECOND: usize = 250;
/// How long it may take until they stand.
const STAND_MAX: Duration = Duration::from_secs(15);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest time slowhttptest may take to end beyond its own length; it counts in steps of 5 s.
const END_MAX: Duration = Duration::from_secs(15);

/// In what a client is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A header line now and then, and never the last one.
    Headers,
    /// A body of 4,000 bytes that comes eight at a time.
    Body,
    /// Four answers of 140 KiB each, asked for at once and read five bytes a second.
    Read,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Headers, Self::Body, Self::Read];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Headers => "slow headers",
            Self::Body => "slow body",
            Self::Read => "slow read",
        }
    }

    const fn args(self) -> &'static [&'static str] {
        match self {
            Self::Headers => &["-H"],
            Self::Body => &["-B", "-s", "4000", "-f", "application/json"],
            Self::Read => &["-X", "-k", "4", "-n", "1", "-z", "5", "-w", "1", "-y", "512"],
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Headers | Self::Body => "/api/buy",
            Self::Read => "/api/openapi.json",
        }
    }
}

/// A running attack; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Attack {
    child: Child,
    length: Duration,
    started: Instant,
    folder: TempDir,
}

impl Attack {
    /// Opens slow connections to the server at `base`, and keeps them up to `length` from now.
    ///
    /// # Errors
    /// When slowhttptest is missing.
    pub(crate) fn start(mode: Mode, base: &str, length: Duration) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (count, rate) = (CONNECTIONS.to_string(), A_SECOND.to_string());
        let seconds = length.as_secs().to_string();
        // It spins, on a core of its own once every connection stands: not the server's doing.
        // An attacker has a machine of his own; here he gets what nobody else wants.
        let child = Command::new("chrt")
            .args(["--idle", "0", "slowhttptest"])
            .args(mode.args())
            .args(["-g", "-o", "attack", "-v", "1", "-c", &count, "-r", &rate, "-l", &seconds])
            // Eight bytes every two seconds: no pause is long enough for a timeout between bytes.
            .args(["-i", "2", "-x", "8", "-u", &format!("{base}{}", mode.path())])
            .current_dir(folder.path())
            .stdout(std::fs::File::create(folder.path().join("said"))?)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context(
                "running slowhttptest under chrt; on Debian the packages slowhttptest, util-linux",
            )?;
        Ok(Self { child, length, started: Instant::now(), folder })
    }

    /// Waits until all of them stand.
    ///
    /// # Errors
    /// When they do not in time.
    pub(crate) async fn stands(&self) -> anyhow::Result<()> {
        let files = PathBuf::from(format!("/proc/{}/fd", self.child.id().unwrap_or(0)));
        let deadline = Instant::now() + STAND_MAX;
        while std::fs::read_dir(&files).map_or(0, Iterator::count) < CONNECTIONS {
            ensure!(Instant::now() < deadline, "slowhttptest did not open its connections in time");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits for the end; how many of its connections the server closed.
    ///
    /// # Errors
    /// When it does not end, or its figures cannot be read.
    pub(crate) async fn end(mut self) -> anyhow::Result<u64> {
        let rest = self.length.saturating_sub(self.started.elapsed()) + END_MAX;
        tokio::time::timeout(rest, self.child.wait())
            .await
            .context("slowhttptest does not end")??;
        let said = std::fs::read_to_string(self.folder.path().join("said"))?;
        let counted = std::fs::read_to_string(self.folder.path().join("attack.csv"))?;
        closed(&said, &counted).with_context(|| format!("slowhttptest said something else: {said}"))
    }
}

/// Connections that were closed: column 2, whose last line is a second or two old; it says itself
/// when none is left.
fn closed(said: &str, counted: &str) -> Option<u64> {
    if said.contains("No open connections left") {
        return Some(CONNECTIONS as u64);
    }
    let lines = counted.strip_prefix("Seconds,Closed,Pending,Connected,")?.lines().skip(1);
    lines.map(|line| line.split(',').nth(1)?.parse().ok()).max().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_closed_is_read_from_what_slowhttptest_writes() {
        let counted = "Seconds,Closed,Pending,Connected,Service Available\n\
                       0,0,1,0,1000\n5,0,0,1000,1000\n6,747,0,253,1000\n";
        assert_eq!(closed("Exit status: Hit test time limit\n", counted), Some(747));
        assert_eq!(closed("Exit status: No open connections left\n", counted), Some(1000));
        assert_eq!(closed("", "Seconds,Open\n0,0\n"), None);
    }
}
