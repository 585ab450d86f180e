//! The stack's directory: ports and secrets that stay, logs, and what is running.
//!
//! Invariant: files with a secret in them are readable by their owner only.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::signal;

/// Below those the kernel gives to outgoing connections (ip(7), `ip_local_port_range`): one of them
/// could take a port in the moment between choosing it and the server's own bind.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// Even on a machine full of stacks one of so many is free.
const PORT_TRIES: usize = 100;

/// A stack's directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// What stays the same from one start to the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Port by purpose.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Password of every private server.
    pub(crate) password: String,
    /// What tells this stack's RabbitMQ node from others.
    pub(crate) node: String,
}

/// A running process, told from a later one of the same pid by its start time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
}

impl DataDir {
    /// Opens or creates the directory; true when it held a stack before.
    pub(crate) fn open(path: &Path) -> anyhow::Result<(Self, bool)> {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
        let root = path.canonicalize()?;
        let dir = Self { root };
        fs::create_dir_all(dir.path("logs"))?;
        let used = dir.path("settings.json").exists();
        Ok((dir, used))
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The log of a process.
    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    /// Reads the settings, with a free port for each of `purposes`: the remembered one while it is
    /// free.
    pub(crate) fn settings(&self, purposes: &[String]) -> anyhow::Result<Settings> {
        let path = self.path("settings.json");
        let mut settings: Settings = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged", path.display()))?,
            Err(_) => Settings {
                password: uuid::Uuid::now_v7().simple().to_string(),
                node: format!("flashsale-{}", uuid::Uuid::now_v7().simple()),
                ..Settings::default()
            },
        };
        // All listeners are held until every port is chosen, so that no two are the same.
        let mut held = Vec::new();
        for purpose in purposes {
            let remembered = settings.ports.get(purpose).copied().unwrap_or(0);
            let listener = match remembered {
                0 => listen_anywhere()?,
                port => listen(port).or_else(|_| listen_anywhere())?,
            };
            settings.ports.insert(purpose.clone(), listener.local_addr()?.port());
            held.push(listener);
        }
        self.write_secret("settings.json", &serde_json::to_vec_pretty(&settings)?)?;
        Ok(settings)
    }

    /// Writes a file only its owner can read, whole or not at all.
    pub(crate) fn write_secret(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, part) = (self.path(name), self.path(&format!("{name}.part")));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .with_context(|| format!("writing {}", part.display()))?;
        file.write_all(bytes)?;
        fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Remembers what runs, for a start after this stack was killed.
    pub(crate) fn record(&self, running: &BTreeMap<String, Running>) -> anyhow::Result<()> {
        self.write_secret("processes.json", &serde_json::to_vec(running)?)
    }

    /// Kills what an earlier stack in this directory left running; how many processes.
    pub(crate) async fn clean_up(&self) -> usize {
        let recorded = fs::read(self.path("processes.json")).unwrap_or_default();
        let recorded: BTreeMap<String, Running> =
            serde_json::from_slice(&recorded).unwrap_or_default();
        let left: Vec<_> = recorded.into_values().filter(|process| process.is_alive()).collect();
        for process in &left {
            signal::end_group(process.pid).await;
        }
        let _ = fs::remove_file(self.path("processes.json"));
        left.len()
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Some free port of [`PORTS`]; any other when those are taken.
fn listen_anywhere() -> std::io::Result<TcpListener> {
    let tries = std::iter::repeat_with(|| listen(fastrand::u16(PORTS))).take(PORT_TRIES);
    tries.flatten().next().map_or_else(|| listen(0), Ok)
}

/// Whether a port is free on loopback.
pub(crate) fn is_free(port: u16) -> bool {
    port == 0 || listen(port).is_ok()
}

impl Running {
    /// A process that runs now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, start_ticks: start_ticks(&stat)? })
    }

    fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// The time as `start_ticks` counts it: when a thread began that begins now.
pub(crate) fn ticks_now() -> Option<u64> {
    let began = || start_ticks(&fs::read_to_string("/proc/thread-self/stat").ok()?);
    std::thread::spawn(began).join().ok()?
}

/// Field 22 of `/proc/pid/stat` (proc(5)); the name in field 2 may hold spaces and parentheses.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let me = Running::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(ticks_now().unwrap() >= me.start_ticks);
        assert!(!Running { start_ticks: me.start_ticks + 1, ..me }.is_alive());
        let odd = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1";
        assert_eq!(start_ticks(odd), Some(123_456));
    }

    #[test]
    fn ports_and_passwords_stay_while_a_taken_port_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, used) = DataDir::open(folder.path()).unwrap();
        assert!(!used);
        let purposes = ["redis".to_owned(), "http".to_owned()];
        let first = dir.settings(&purposes).unwrap();
        let again = dir.settings(&purposes).unwrap();
        assert_eq!((&first.ports, &first.password), (&again.ports, &again.password));
        let _taken = listen(first.ports["redis"]).unwrap();
        let moved = dir.settings(&purposes).unwrap();
        assert_ne!(moved.ports["redis"], first.ports["redis"]);
        assert_eq!(moved.ports["http"], first.ports["http"]);
        assert!(DataDir::open(folder.path()).unwrap().1, "used now");
    }
}
