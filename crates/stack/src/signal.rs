//! Signals by name, to one process or to its whole group.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{
    Pid, Signal, getpgid, kill_process, kill_process_group, test_kill_process_group,
};

/// Reads `KILL`, `SIGKILL` or `9`.
pub(crate) fn parse(text: &str) -> anyhow::Result<Signal> {
    let name = text.trim().to_ascii_uppercase();
    Ok(match name.strip_prefix("SIG").unwrap_or(&name) {
        "HUP" | "1" => Signal::HUP,
        "INT" | "2" => Signal::INT,
        "QUIT" | "3" => Signal::QUIT,
        "ABRT" | "6" => Signal::ABORT,
        "KILL" | "9" => Signal::KILL,
        "USR1" | "10" => Signal::USR1,
        "SEGV" | "11" => Signal::SEGV,
        "USR2" | "12" => Signal::USR2,
        "TERM" | "15" => Signal::TERM,
        "CONT" | "18" => Signal::CONT,
        "STOP" | "19" => Signal::STOP,
        _ => bail!("{text:?} is not a signal: try KILL, TERM, INT, HUP, STOP, CONT, USR1 or USR2"),
    })
}

/// Sends a signal to one process.
pub(crate) fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    kill_process(to_pid(pid)?, signal).with_context(|| format!("signalling process {pid}"))
}

/// Kills whatever is left of a process's group. That nothing is left is no error.
pub(crate) fn kill_group(pid: u32) {
    if let Ok(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The group of a process that is there.
pub(crate) fn group_of(pid: u32) -> Option<u32> {
    let group = getpgid(Some(to_pid(pid).ok()?)).ok()?;
    u32::try_from(group.as_raw_nonzero().get()).ok()
}

/// How long a killed group may take to be gone: it ends at once, unless a disk holds it up.
const GONE_MAX: Duration = Duration::from_secs(2);

/// Kills a process's group and waits until nothing of it holds a port or shared memory any more.
pub(crate) async fn end_group(pid: u32) {
    kill_group(pid);
    let Ok(group) = to_pid(pid) else { return };
    let deadline = Instant::now() + GONE_MAX;
    while test_kill_process_group(group).is_ok() && has_living(pid) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a group has a member that is no zombie: those hold nothing, and whoever should reap them
/// may take its time.
fn has_living(group: u32) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .any(|stat| is_living_member(&stat, group))
}

/// Fields 3 and 5 of `/proc/pid/stat`, state and process group (proc(5)).
fn is_living_member(stat: &str, group: u32) -> bool {
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let is_zombie = matches!(fields.next(), Some("Z" | "X") | None);
    !is_zombie && fields.nth(1).and_then(|text| text.parse().ok()) == Some(group)
}

fn to_pid(pid: u32) -> anyhow::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no pid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_holds_nothing() {
        assert!(is_living_member("7 (a) b) S 1 42 42 0", 42));
        assert!(!is_living_member("7 (a) b) Z 1 42 42 0", 42));
        assert!(!is_living_member("7 (a) S 1 41 42 0", 42));
    }

    #[test]
    fn a_signal_has_a_name_with_or_without_sig_or_a_number() {
        for text in ["KILL", "sigkill", "9"] {
            assert_eq!(parse(text).unwrap(), Signal::KILL);
        }
        assert!(parse("NOSUCH").is_err());
    }
}
