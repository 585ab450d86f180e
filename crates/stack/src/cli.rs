//! The command line of the stack.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::control::{self, Answer, Request};
use crate::guard::{self, Directory};
use crate::process::State;
use crate::requirements::For;
use crate::{Limits, Stack, StackOptions, doctor, install, loadtest};

/// Runs a private flash-sale stack: Redis, RabbitMQ, PostgreSQL, nginx, edges, settlers.
#[derive(Debug, Parser)]
#[command(name = "stack", version, about)]
pub struct Cli {
    /// Where the stack keeps its data, logs and ports
    #[arg(long, env = "STACK_DIR", default_value = ".stack", global = true)]
    stack_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, supervise it, and stop it on Ctrl-C
    Up(UpSettings),
    /// Show what runs and where
    Status {
        /// Print JSON, alone, to stdout
        #[arg(long)]
        json: bool,
    },
    /// Stop a process; it stays down until `start`
    Stop {
        /// Such as edge-1, settler-1, redis, rabbitmq, postgres, nginx
        name: String,
    },
    /// Start a process that was stopped
    Start {
        /// Its name
        name: String,
    },
    /// Send a signal to a process: a crash, after which it is started again
    Kill {
        /// Its name
        name: String,
        /// KILL, TERM, STOP, CONT, …
        #[arg(long, default_value = "KILL")]
        signal: String,
    },
    /// Stop the whole stack
    Down,
    /// Delete the data of a stack that does not run
    Reset,
    /// Print a process's log
    Logs {
        /// Its name
        name: String,
    },
    /// Say what this machine has and lacks, and the command that helps
    Doctor {
        /// Port nginx is to have
        #[arg(long, env = "HTTP_PORT", default_value_t = 8080)]
        http_port: u16,
    },
    /// Install the servers that are missing (Debian, Ubuntu)
    Install {
        /// What only tests need as well: a browser
        #[arg(long)]
        tests: bool,
        /// What only `make bench` and `make slow` need as well: wrk, slowhttptest
        #[arg(long)]
        bench: bool,
    },
    /// Run the k6 load test against the running stack, then check PostgreSQL
    Loadtest,
    /// End what a stack leaves behind when it is killed (started by every stack itself)
    #[command(hide = true)]
    Guard {
        /// Delete its directory, too
        #[arg(long)]
        delete: bool,
    },
}

/// `stack up`.
#[derive(Debug, Args)]
struct UpSettings {
    /// Port of nginx; 0 is any free one
    #[arg(long, env = "HTTP_PORT", default_value_t = 8080)]
    http_port: u16,
    /// Units of the demo sale, when it is first loaded
    #[arg(long, env = "STOCK", default_value_t = 1000)]
    stock: i64,
    /// Edges to start
    #[arg(long, env = "EDGES", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    edges: u16,
    /// Settlers to start
    #[arg(long, env = "SETTLERS", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    settlers: u16,
    /// Whether nginx limits what one address may ask for, as in production
    #[arg(long, env = "LIMITS", default_value = "off", hide_possible_values = true)]
    limits: Limits,
    /// Use this Redis and start none
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// Use this RabbitMQ and start none
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// Use this PostgreSQL and start none
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// One line to the terminal.
pub(crate) fn say(line: &str) {
    // A closed terminal must not stop the stack.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs the command line.
///
/// # Errors
/// Whatever went wrong, in words for a person.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let dir = cli.stack_dir;
    match cli.command {
        Command::Up(settings) => up(dir, settings).await,
        Command::Status { json } => {
            let Answer::Status(status) = control::ask(&dir, Request::Status).await? else {
                anyhow::bail!("the stack answered something else");
            };
            if json {
                say(&serde_json::to_string(&status)?);
                return Ok(());
            }
            say(&format!("{}  {}", status.http, if status.ready { "ready" } else { "not ready" }));
            for process in status.processes {
                let state = match process.state {
                    State::Starting => "starting",
                    State::Running => "running",
                    State::Stopped => "stopped",
                    State::Failed => "failed",
                };
                say(&format!(
                    "  {:<10} {state:<8} {:>7}  {}",
                    process.name, process.pid, process.url
                ));
            }
            Ok(())
        }
        Command::Stop { name } => done(control::ask(&dir, Request::Stop { name }).await),
        Command::Start { name } => done(control::ask(&dir, Request::Start { name }).await),
        Command::Kill { name, signal } => {
            done(control::ask(&dir, Request::Kill { name, signal }).await)
        }
        Command::Down => {
            done(control::ask(&dir, Request::Down).await)?;
            while control::is_running(&dir).await {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Command::Reset => reset(&dir).await,
        Command::Logs { name } => {
            let path = dir.join("logs").join(format!("{name}.log"));
            let text = std::fs::read(&path).with_context(|| format!("no log of {name:?}"))?;
            std::io::stdout().write_all(&text)?;
            Ok(())
        }
        Command::Doctor { http_port } => doctor::run(&dir, http_port).await,
        Command::Install { tests, bench } => {
            let also = [(tests, For::Tests), (bench, For::Bench)];
            let also: Vec<_> =
                also.into_iter().filter_map(|(on, what)| on.then_some(what)).collect();
            install::run(&also)
        }
        Command::Loadtest => loadtest::run(&dir).await,
        Command::Guard { delete } => {
            guard::watch(&dir, if delete { Directory::Deleted } else { Directory::Kept })
        }
    }
}

fn done(answer: anyhow::Result<Answer>) -> anyhow::Result<()> {
    answer.map(|_| ())
}

async fn reset(dir: &std::path::Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !control::is_running(dir).await,
        "a stack runs in {}: stop it first with `stack down`",
        dir.display()
    );
    if !dir.exists() {
        say(&format!("{}: nothing to delete", dir.display()));
        return Ok(());
    }
    let ours = dir.join("settings.json").exists();
    anyhow::ensure!(ours, "{} holds no stack: not deleted", dir.display());
    crate::data_dir::DataDir::open(dir)?.0.clean_up().await;
    std::fs::remove_dir_all(dir).with_context(|| format!("deleting {}", dir.display()))?;
    say(&format!("{}: deleted", dir.display()));
    Ok(())
}

async fn up(dir: PathBuf, settings: UpSettings) -> anyhow::Result<()> {
    anyhow::ensure!(
        !control::is_running(&dir).await,
        "a stack runs in {} already: see `stack status`, or choose another STACK_DIR",
        dir.display()
    );
    anyhow::ensure!(
        crate::data_dir::is_free(settings.http_port),
        "port {} is taken: choose another one with HTTP_PORT=…",
        settings.http_port
    );
    let options = StackOptions {
        dir: Some(dir.clone()),
        http_port: settings.http_port,
        edges: usize::from(settings.edges),
        settlers: usize::from(settings.settlers),
        stock: settings.stock,
        limits: settings.limits,
        redis_url: settings.redis_url,
        amqp_url: settings.amqp_url,
        database_url: settings.database_url,
        verbose: true,
        ..StackOptions::default()
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let down = Arc::new(Notify::new());
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            () = down.notified() => {}
        }
    };
    tokio::pin!(stop);
    let stack = tokio::select! {
        // Dropped while it starts, a stack kills what it started.
        () = &mut stop => return Ok(()),
        started = Stack::start(options) => Arc::new(started?),
    };
    control::serve(stack.clone(), down.clone()).await?;
    say(&format!("ready {}", stack.http()));
    stop.await;
    stack.stop_all().await;
    let _ = std::fs::remove_file(dir.join("control.json"));
    say("stopped; the data is kept (`make reset` deletes it)");
    Ok(())
}
