//! Signals by name, to one process or to its whole group.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

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

fn to_pid(pid: u32) -> anyhow::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no pid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_or_without_sig_or_a_number() {
        for text in ["KILL", "sigkill", "9"] {
            assert_eq!(parse(text).unwrap(), Signal::KILL);
        }
        assert!(parse("NOSUCH").is_err());
    }
}
