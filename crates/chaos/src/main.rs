//! Sells for a while, kills everything in turn, waits for quiet, and checks every invariant.
//!
//! Owns the course of a run; `load` presses, `faults` breaks, `outside` reads, `judge` judges,
//! `feed` watches, `table` sums up.
//! Invariant: the same seed makes the same schedule of faults.

mod faults;
mod feed;
mod judge;
mod load;
mod outside;
mod table;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fastrand::Rng;
use stack::{Stack, StackOptions, State};

use faults::Fault;
use feed::Watchers;
use judge::Verdict;
use load::{Crowd, Told};
use table::Row;

/// Units a second of the run: somewhat more than buyers press for, so that faults meet a sale that
/// sells, and the rest is soon sold after them.
const UNITS_PER_SECOND: u64 = 2_500;
/// Each buyer's pause between two presses: some 2,000 presses a second.
const PRESS_PAUSE: Duration = Duration::from_millis(20);
/// How long the last fault is watched.
const LAST_FAULT: Duration = Duration::from_secs(3);
/// Longest time to sell the rest after the last fault.
const SELL_REST_MAX: Duration = Duration::from_secs(120);

/// Sells while everything is killed, and checks the invariants from outside.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about)]
struct Cli {
    /// Length of the run in seconds, without starting and settling
    #[arg(long, env = "CHAOS_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,
    /// Makes the same schedule of faults again; by default the time
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(run(&cli)) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => {
            // A person reads this: what went wrong and why, without a backtrace.
            let _ = writeln!(std::io::stderr(), "chaos: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn say(line: &str) {
    // A closed terminal must not end the run.
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn run(cli: &Cli) -> anyhow::Result<bool> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seed = cli.seed.unwrap_or_else(clock);
    let length = Duration::from_secs(cli.seconds);
    let schedule = faults::schedule(Rng::with_seed(seed), length);
    say(&format!("SEED={seed} CHAOS_SECONDS={}: {} faults", cli.seconds, schedule.len()));

    let stock = i64::try_from(cli.seconds * UNITS_PER_SECOND)?;
    let options = StackOptions { settlers: 2, stock, ..StackOptions::default() };
    let stack = Stack::start(options).await?;
    let crowd = Crowd::start(stack.http(), PRESS_PAUSE, seed);
    let watchers = Watchers::start(stack.http());
    let rows = break_things(&stack, &crowd, schedule).await?;
    sell_the_rest(&stack, &crowd).await;
    let first_sold_out = crowd.pulse.at_first_sold_out.load(Ordering::Relaxed);
    let told = crowd.go_home().await;
    let stores = outside::read(&stack).await?;
    let feed = watchers.judge(&stack).await?;
    stack.shutdown().await;

    say("");
    table::print(&rows, &told, &stores).iter().for_each(|line| say(line));
    let losses: Vec<bool> =
        rows.iter().map(|row| row.fault.as_ref().is_some_and(Fault::loses_redis_data)).collect();
    let mut verdicts = judge::judge(&told, &stores, &losses);
    let early = first_sold_out < u64::try_from(stock)?;
    let figures = format!("first told after {first_sold_out} of {stock}");
    verdicts.push(feed);
    verdicts.push(Verdict { name: "no false sold out", holds: !early, figures });
    print_verdicts(&told, &verdicts);
    Ok(verdicts.iter().all(|verdict| verdict.holds))
}

async fn break_things(
    stack: &Stack,
    crowd: &Crowd,
    schedule: Vec<(Duration, Fault)>,
) -> anyhow::Result<Vec<Row>> {
    let started = Instant::now();
    let mut rows = vec![Row { at: Duration::ZERO, fault: None, closed_ms: 0 }];
    for (pause, fault) in schedule {
        tokio::time::sleep(pause).await;
        let prepared = faults::prepare(stack, &fault).await;
        finish(&mut rows, crowd.pulse.take_silence_ms());
        let at = started.elapsed();
        // Counted first: a fault takes its time, and buyers notice from the first moment.
        crowd.pulse.faults.fetch_add(1, Ordering::Relaxed);
        let injected = match prepared {
            Ok(()) => faults::inject(stack, &fault).await,
            Err(error) => Err(error),
        };
        if let Err(error) = injected {
            // Such as a process that an earlier fault keeps down: the run goes on.
            say(&format!("{:6.1} s  {fault}: {error}", at.as_secs_f64()));
        }
        rows.push(Row { at, fault: Some(fault), closed_ms: 0 });
    }
    // The last fault is measured like the others, and healed.
    tokio::time::sleep(LAST_FAULT).await;
    stack.wait_ready().await?;
    finish(&mut rows, crowd.pulse.take_silence_ms());
    Ok(rows)
}

fn finish(rows: &mut [Row], closed_ms: u64) {
    if let Some(row) = rows.last_mut() {
        row.closed_ms = closed_ms;
    }
}

/// Buyers go on until the last unit is sold, or it takes too long.
async fn sell_the_rest(stack: &Stack, crowd: &Crowd) {
    let deadline = Instant::now() + SELL_REST_MAX;
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let running = stack.status().processes.iter().all(|p| p.state == State::Running);
        let told = crowd.pulse.at_first_sold_out.load(Ordering::Relaxed) != u64::MAX;
        // The last fault may have been a moment ago: whoever does not answer has units left.
        if running && told && matches!(outside::available(stack).await, Ok(Some(0))) {
            return;
        }
    }
    say("the last units were not sold in time");
}

fn print_verdicts(told: &Told, verdicts: &[Verdict]) {
    let accepted = told.users.values().filter(|user| user.accepted.is_some()).count();
    let unknown = told.users.values().filter(|user| user.unknown).count();
    say(&format!(
        "\n  {} attempts by {} users: {accepted} accepted, {} times sold out, {} times turned \
         away, {unknown} users with an unknown outcome",
        told.attempts,
        told.users.len(),
        told.sold_out,
        told.turned_away
    ));
    for verdict in verdicts {
        let mark = if verdict.holds { "✓" } else { "✗" };
        say(&format!("  {mark} {:<40} {}", verdict.name, verdict.figures));
    }
    let all = verdicts.iter().all(|verdict| verdict.holds);
    say(if all { "every invariant holds" } else { "NOT every invariant holds" });
}
