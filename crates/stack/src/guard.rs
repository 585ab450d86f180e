//! Ends what a stack leaves behind when it is killed itself, as by a test runner at its timeout.
//!
//! A small process that outlives the stack and waits for the end of a pipe only the stack holds:
//! the kernel closes it, however the stack ends. (A signal at a parent's death reaches one process
//! and not what that one started, and is tied to the thread that forked.) Whoever writes its errors
//! to a log of the stack belongs to it, descendants and what was started a moment ago included.
//! Invariant: a process that was started after the stack's end is none of this guard's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::data_dir::{self, Running};
use crate::{find, signal};

/// How long killed processes may take to be gone: they end at once, unless a disk holds them up.
const GONE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a stack that has stopped everything itself says.
const DISMISSED: u8 = b'.';

/// What becomes of the stack's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directory {
    /// It is somebody's.
    Kept,
    /// The stack made it for itself.
    Deleted,
}

/// The stack's end of the pipe, and the process at the other.
#[derive(Debug)]
pub(crate) struct Guard(Mutex<Option<(ChildStdin, Child)>>);

impl Guard {
    /// Starts watching over what writes to the logs in `dir`.
    ///
    /// # Errors
    /// When the stack's program is not built.
    pub(crate) fn start(dir: &Path, directory: Directory) -> anyhow::Result<Self> {
        let mut command = Command::new(find::program("stack")?);
        command.arg("--stack-dir").arg(dir).arg("guard");
        if directory == Directory::Deleted {
            command.arg("--delete");
        }
        // A group of its own: what kills the stack's, or Ctrl-C, does not meet it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("starting the stack's guard")?;
        let pipe = child.stdin.take().context("its stdin is a pipe")?;
        Ok(Self(Mutex::new(Some((pipe, child)))))
    }

    /// Sends it home: everything was stopped. Another stack may begin in the directory.
    pub(crate) fn dismiss(&self) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut pipe, mut child)) = held {
            // When it is gone, there is nobody to send home.
            let _ = pipe.write_all(&[DISMISSED]);
            let _ = child.wait();
        }
    }
}

/// What the guard does: waits for the stack's end, then ends what it left.
///
/// # Errors
/// When the directory of the stack cannot be deleted.
pub(crate) fn watch(dir: &Path, directory: Directory) -> anyhow::Result<()> {
    let logs = dir.join("logs");
    let mut said = [0; 1];
    if matches!(std::io::stdin().read(&mut said), Ok(1)) {
        return Ok(());
    }
    let end = data_dir::ticks_now().context("the kernel says when a thread began")?;
    let deadline = Instant::now() + GONE_MAX;
    loop {
        let groups = groups_writing_to(&logs, end);
        if groups.is_empty() || Instant::now() > deadline {
            break;
        }
        groups.into_iter().for_each(signal::kill_group);
        std::thread::sleep(LOOK_EVERY);
    }
    if directory == Directory::Deleted && dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("deleting {}", dir.display()))?;
    }
    Ok(())
}

/// Process groups with a member whose stderr is one of these logs, and that began by `end`.
fn groups_writing_to(logs: &Path, end: u64) -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let theirs = pids.filter(|pid| {
        let stderr = fs::read_link(format!("/proc/{pid}/fd/2"));
        stderr.is_ok_and(|path| path.starts_with(logs))
            && Running::of(*pid).is_some_and(|found| found.start_ticks <= end)
    });
    theirs.filter_map(signal::group_of).collect()
}
