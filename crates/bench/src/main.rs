//! Measures the whole system, each figure beside what the machine could do at best.
//!
//! Owns the command line and the order of the rows; `rows` measures, `report` shows.
//! Invariant: the exit code is 0 only if every row was measured and every invariant held.

mod accounting;
mod attack;
mod batches;
mod ceiling;
mod http;
mod lab;
mod open_loop;
mod percentiles;
mod report;
mod resp;
mod row;
mod rows;
mod system;
mod watcher;
mod wrk;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use lab::Lab;
use report::{Report, say};
use row::Row;
use rows::{accepted, edge_alone, feed, growth, latency, one_by_one, overload};
use rows::{script, settler_alone, slow, sold_out};

// As in the programs it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the whole system against what the machine could do at best.
#[derive(Debug, Parser)]
#[command(name = "bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure, comma-separated; by default everything but slow
    #[arg(long, env = "BENCH_ROWS", value_enum, value_delimiter = ',')]
    rows: Vec<Measurement>,
    /// Length of one run in seconds; a row has several
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the figures are written
    #[arg(long, env = "BENCH_JSON", default_value = "target/bench.json")]
    json: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as the ceiling: read every body, answer 202 (started by this program itself)
    #[command(hide = true)]
    Bare {
        /// Where to listen
        #[arg(long, env = "HTTP_ADDR")]
        http_addr: SocketAddr,
    },
}

/// What can be measured, in the order it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// Buyers who are all accepted
    Accepted,
    /// Buyers after the last unit
    SoldOut,
    /// Latency at a constant rate
    Latency,
    /// Five times the peak
    Overload,
    /// Start and memory of one edge
    EdgeAlone,
    /// The same system without batches
    OneByOne,
    /// `reserve.lua` alone
    Script,
    /// A settler and a full queue
    SettlerAlone,
    /// WebSocket clients
    Feed,
    /// A thousand products
    Products,
    /// A sale of ten million units
    TenMillion,
    /// Buyers beside slow clients; only when asked for, as it fails when buyers notice
    Slow,
}

impl Measurement {
    async fn run(self, lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Accepted => accepted::rows(lab).await,
            Self::SoldOut => sold_out::rows(lab).await,
            Self::Latency => latency::rows(lab).await,
            Self::Overload => overload::rows(lab).await,
            Self::EdgeAlone => edge_alone::rows(lab).await,
            Self::OneByOne => one_by_one::rows(lab).await,
            Self::Script => script::rows(lab).await,
            Self::SettlerAlone => settler_alone::rows(lab).await,
            Self::Feed => feed::rows(lab).await,
            Self::Products => growth::products(lab).await,
            Self::TenMillion => growth::ten_million(lab).await,
            Self::Slow => slow::rows(lab).await,
        }
    }

    /// Whether it is measured: asked for, or one of those that are when nothing is.
    fn is_wanted(self, asked: &[Self]) -> bool {
        if asked.is_empty() { self != Self::Slow } else { asked.contains(&self) }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    // Ten thousand clients are as many files.
    service::limits::raise_open_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(Command::Bare { http_addr }) = cli.command {
        // An edge has one worker by default.
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        runtime.block_on(async { tokio::spawn(ceiling::serve_bare(http_addr)).await? })?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = runtime.enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Dropped in the middle, a run kills everything it started.
        tokio::select! {
            report = run(&cli) => anyhow::Ok(Some(report)),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })?;
    let Some(report) = report else {
        say("interrupted; nothing of it runs any more");
        return Ok(ExitCode::FAILURE);
    };
    report.write(&cli.json)?;
    say(&format!("\n{}\nwritten to {}", report.summary(), cli.json.display()));
    Ok(if report.invariants_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(cli: &Cli) -> Report {
    let started = Instant::now();
    let mut lab = Lab::new(Duration::from_secs(cli.seconds));
    let mut rows = Vec::new();
    say(&report::heading());
    for measurement in Measurement::value_variants() {
        if !measurement.is_wanted(&cli.rows) {
            continue;
        }
        let name = measurement.name();
        // A row that takes minutes: say what is going on.
        let _ = writeln!(std::io::stderr(), "[{:4} s] {name}", started.elapsed().as_secs());
        let measured = measurement.run(&mut lab).await;
        let measured = measured.unwrap_or_else(|error| vec![Row::failed(&name, &error)]);
        for row in &measured {
            report::lines(row).iter().for_each(|line| say(line));
        }
        rows.extend(measured);
    }
    lab.retire().await;
    Report::new(rows, cli.seconds, started.elapsed().as_secs())
}
