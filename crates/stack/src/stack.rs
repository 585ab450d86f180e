//! A running stack: everything started in order, reachable by name, stopped in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process::Command;

use crate::data_dir::{DataDir, Settings};
use crate::guard::{Directory, Guard};
use crate::options::{Server, StackOptions};
use crate::process::{ProcessStatus, State};
use crate::programs::{self, ServerUrls};
use crate::supervise::{Shared, Supervised};
use crate::{find, redis, requirements, servers, signal};

/// How long everything may take to be ready on a slow machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// A person who waits this long is told what for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often readiness is looked at.
const POLL: Duration = Duration::from_millis(25);

/// What `stack status --json` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Where people go; empty without nginx.
    pub http: String,
    /// Whether every process that should run is ready.
    pub ready: bool,
    /// Every process, in the order they start.
    pub processes: Vec<ProcessStatus>,
}

/// A running stack. Dropping it kills every process of it; [`Stack::shutdown`] stops them in order.
#[derive(Debug)]
pub struct Stack {
    shared: Arc<Shared>,
    processes: Vec<Supervised>,
    urls: ServerUrls,
    http: String,
    guard: Guard,
    /// Deleted last.
    _own_dir: Option<TempDir>,
}

impl Stack {
    /// Starts a stack and waits until it is ready.
    ///
    /// # Errors
    /// When a server is not installed, a port is taken, or something is not ready in time; then
    /// nothing of it runs any more.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        let mut own_dir = None;
        let path = match &options.dir {
            Some(path) => path.clone(),
            None => own_dir.insert(tempfile::tempdir()?).path().to_owned(),
        };
        requirements::check_disk(&path)?;
        let (dir, used) = DataDir::open(&path)?;
        let cleaned = dir.clean_up().await;
        let settings = dir.settings(&purposes(&options))?;
        let directory = if own_dir.is_some() { Directory::Deleted } else { Directory::Kept };
        let guard = Guard::start(dir.root(), directory)?;
        let shared = Arc::new(Shared::new(dir, options.verbose));
        shared.say("data", &greeting(&path, used, cleaned));
        let mut stack = Self {
            shared,
            processes: Vec::new(),
            urls: urls(&options, &settings),
            http: String::new(),
            guard,
            _own_dir: own_dir,
        };
        match stack.start_all(&options, &settings).await {
            Ok(()) => Ok(stack),
            Err(error) => {
                stack.shutdown().await;
                Err(error)
            }
        }
    }

    async fn start_all(
        &mut self,
        options: &StackOptions,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let run = || Server::ALL.into_iter().filter(|server| options.runs(*server));
        for server in run() {
            requirements::check_age(server.program())?;
        }
        for server in run() {
            for spec in servers::specs(server, options, &self.shared.dir, settings).await? {
                self.add(spec);
            }
        }
        if options.runs(Server::Postgres) {
            servers::create_database(settings).await?;
        }
        self.wait_ready().await?;
        if options.runs(Server::Redis) {
            redis::join(options.redis_nodes, settings).await?;
        }
        if options.settlers > 0 {
            let env = &options.env;
            self.run_once("settler", &["migrate".into()], env).await?;
            let stock = format!("--stock={}", options.stock);
            self.run_once("settler", &["demo".into(), stock], env).await?;
        }
        for number in 1..=options.settlers {
            let mut spec = programs::settler(number, settings, &self.urls)?;
            spec.env.extend(options.env.iter().cloned());
            self.add(spec);
        }
        for number in 1..=options.edges {
            let mut spec = programs::edge(number, settings, &self.urls, &options.edge_program)?;
            spec.env.extend(options.env.iter().cloned());
            self.add(spec);
        }
        if options.edges > 0 {
            let port = http_port(options, settings);
            anyhow::ensure!(
                crate::data_dir::is_free(port),
                "port {port} is taken: choose another one with HTTP_PORT=…"
            );
            let spec = programs::nginx(options, port, &self.shared.dir, settings)?;
            self.http.clone_from(&spec.url);
            self.add(spec);
        }
        self.wait_ready().await
    }

    fn add(&mut self, spec: crate::process::Spec) {
        self.shared.say(&spec.name, &format!("starting  {}", without_password(&spec.url)));
        self.processes.push(Supervised::start(spec, self.shared.clone()));
    }

    /// Runs one of our programs to its end.
    async fn run_once(
        &self,
        program: &str,
        args: &[String],
        env: &[(String, String)],
    ) -> anyhow::Result<()> {
        let output = Command::new(find::program(program)?)
            .args(args)
            .envs(self.urls.env())
            .envs(env.iter().cloned())
            .stdin(std::process::Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{program} {}` failed: {said}", args.join(" "));
        }
        self.shared.say(program, String::from_utf8_lossy(&output.stdout).trim_end());
        Ok(())
    }

    /// Waits until every process that should run is ready.
    ///
    /// # Errors
    /// After two minutes, naming what is not ready and the end of its log.
    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        let mut patience = Instant::now() + PATIENCE;
        loop {
            let status = self.status_of_all();
            let waiting =
                status.iter().find(|p| !matches!(p.state, State::Running | State::Stopped));
            let Some(waiting) = waiting else { return Ok(()) };
            let log = self.shared.dir.log(&waiting.name);
            if Instant::now() > patience {
                patience += PATIENCE;
                self.shared.say(&waiting.name, &format!("not ready yet; see {}", log.display()));
            }
            if Instant::now() > deadline {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<_> = text.lines().rev().take(15).collect();
                let tail: Vec<_> = lines.into_iter().rev().collect();
                bail!(
                    "{} is not ready after {} s; its log, {}, ends:\n{}",
                    waiting.name,
                    READY_MAX.as_secs(),
                    log.display(),
                    tail.join("\n")
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn status_of_all(&self) -> Vec<ProcessStatus> {
        self.processes.iter().filter_map(|p| self.shared.status(&p.spec.name)).collect()
    }

    /// What runs now.
    pub fn status(&self) -> Status {
        let all = self.status_of_all();
        let unlisted = |name: &str| {
            self.processes.iter().any(|process| process.spec.name == name && !process.spec.listed)
        };
        Status {
            http: self.http.clone(),
            ready: all.iter().all(|process| process.state == State::Running),
            processes: all.into_iter().filter(|process| !unlisted(&process.name)).collect(),
        }
    }

    /// Where people go: nginx.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// Redis.
    pub fn redis_url(&self) -> &str {
        &self.urls.redis
    }

    /// RabbitMQ.
    pub fn amqp_url(&self) -> &str {
        &self.urls.amqp
    }

    /// PostgreSQL.
    pub fn database_url(&self) -> &str {
        &self.urls.database
    }

    /// Where one process is reached.
    ///
    /// # Errors
    /// When there is no process of this name.
    pub fn url(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.find(name)?.spec.url.clone())
    }

    /// Sends a signal, such as `KILL`, to a process; when it dies it is started again.
    ///
    /// # Errors
    /// When there is no process or signal of this name, or the process is down.
    pub async fn kill(&self, name: &str, signal_name: &str) -> anyhow::Result<()> {
        let signal = signal::parse(signal_name)?;
        let spec = self.find(name)?.spec.clone();
        // Just restarted: it has a pid again within moments.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let status = self.shared.status(&spec.name).context("every process has a status")?;
            if status.pid != 0 {
                return signal::send(status.pid, signal);
            }
            if status.state == State::Stopped || Instant::now() > deadline {
                bail!("{name} is not running");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops a process and keeps it down until [`Stack::resume`].
    ///
    /// # Errors
    /// When there is no process of this name.
    pub async fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.find(name)?.stop().await;
        Ok(())
    }

    /// Starts a process that was stopped.
    ///
    /// # Errors
    /// When there is no process of this name.
    pub async fn resume(&self, name: &str) -> anyhow::Result<()> {
        self.find(name)?.resume().await;
        Ok(())
    }

    fn find(&self, name: &str) -> anyhow::Result<&Supervised> {
        let found = self.processes.iter().find(|process| process.spec.name == name);
        found.with_context(|| {
            let names: Vec<_> =
                self.status().processes.into_iter().map(|process| process.name).collect();
            format!("no process {name:?}; there are {}", names.join(", "))
        })
    }

    /// What a process is told on top of the stack's own environment.
    pub(crate) fn environment_of(&self, name: &str) -> anyhow::Result<&[(String, String)]> {
        Ok(&self.find(name)?.spec.env)
    }

    pub(crate) fn write_secret(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.shared.dir.write_secret(name, bytes)
    }

    /// The directory of this stack.
    pub fn dir(&self) -> &Path {
        self.shared.dir.root()
    }

    /// Stops everything in order: nginx, edges, settlers, then the servers.
    pub async fn shutdown(self) {
        self.stop_all().await;
    }

    pub(crate) async fn stop_all(&self) {
        let rank = |process: &Supervised| match process.spec.name.split('-').next() {
            Some("nginx") => 0,
            Some("edge") => 1,
            Some("settler") => 2,
            Some("epmd") => 4,
            _ => 3,
        };
        for stage in 0..=4 {
            let mut stops = tokio::task::JoinSet::new();
            for process in self.processes.iter().filter(|process| rank(process) == stage) {
                self.shared.say(&process.spec.name, "stopping");
                stops.spawn(process.stop());
            }
            while stops.join_next().await.is_some() {}
        }
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.guard.dismiss();
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for pid in self.shared.pids() {
            signal::kill_group(pid);
        }
    }
}

fn purposes(options: &StackOptions) -> Vec<String> {
    let servers = Server::ALL.into_iter().filter(|server| options.runs(*server));
    let mut purposes: Vec<String> =
        servers.flat_map(|server| servers::purposes(server, options)).collect();
    purposes.extend((1..=options.edges).map(|n| format!("edge-{n}")));
    purposes.extend((1..=options.settlers).map(|n| format!("settler-{n}")));
    if options.edges > 0 && options.http_port == 0 {
        purposes.push("nginx".to_owned());
    }
    purposes
}

fn http_port(options: &StackOptions, settings: &Settings) -> u16 {
    if options.http_port == 0 { settings.ports["nginx"] } else { options.http_port }
}

fn urls(options: &StackOptions, settings: &Settings) -> ServerUrls {
    let url = |server: Server, given: &Option<String>| match given {
        Some(url) => url.clone(),
        None if options.runs(server) => servers::url(server, options, settings),
        None => String::new(),
    };
    ServerUrls {
        redis: url(Server::Redis, &options.redis_url),
        amqp: url(Server::RabbitMq, &options.amqp_url),
        database: url(Server::Postgres, &options.database_url),
    }
}

fn greeting(path: &Path, used: bool, cleaned: usize) -> String {
    let mut text = path.display().to_string();
    text.push_str(if used { ": used before, its data is kept" } else { ": new" });
    if cleaned > 0 {
        text.push_str(&format!("; {cleaned} processes of a killed stack were cleaned up"));
    }
    text
}

/// A URL as a terminal may show it.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_never_shows_a_password() {
        assert_eq!(without_password("redis://:secret@127.0.0.1:1/0"), "redis://127.0.0.1:1/0");
        assert_eq!(without_password("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }
}
