//! One process of the stack: what it is, and how it is doing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::process::Command;

/// How a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Runs, not ready yet.
    Starting,
    /// Runs and is ready.
    Running,
    /// Was stopped on request.
    Stopped,
    /// Died before it was ready; waits before it is started again.
    Failed,
}

/// One process as `status --json` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// `redis`, `edge-1`, …
    pub name: String,
    /// The listening process itself; 0 while there is none.
    pub pid: u32,
    /// Usable as it is with curl, redis-cli -u, psql, or an AMQP client.
    pub url: String,
    /// How it stands.
    pub state: State,
}

/// How to see that a process is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It accepts connections.
    Tcp(u16),
    /// `GET /readyz` answers 200.
    Readyz(u16),
}

impl Ready {
    pub(crate) async fn check(self) -> bool {
        match self {
            Self::Tcp(port) => TcpStream::connect(("127.0.0.1", port)).await.is_ok(),
            Self::Readyz(port) => {
                crate::http::get(port, "/readyz").await.is_ok_and(|(status, _)| status == 200)
            }
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Its name in the stack.
    pub(crate) name: String,
    /// Where it is reached.
    pub(crate) url: String,
    /// The program. What stands before another becomes it, so that the pid stays.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment, on top of the stack's own.
    pub(crate) env: Vec<(String, String)>,
    /// Environment it must not inherit.
    pub(crate) env_remove: Vec<&'static str>,
    /// When it is ready.
    pub(crate) ready: Ready,
    /// How long it may take to stop after SIGTERM.
    pub(crate) grace: Duration,
    /// Whether `status` lists it.
    pub(crate) listed: bool,
}

impl Spec {
    pub(crate) fn new(name: &str, program: PathBuf, ready: Ready) -> Self {
        Self {
            name: name.to_owned(),
            url: String::new(),
            program,
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            ready,
            grace: Duration::from_secs(10),
            listed: true,
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for name in &self.env_remove {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}
