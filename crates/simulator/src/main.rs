//! `make simulate`: thousands of seeded runs of the protocol, or of each of its mutants.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use simulator::{Broken, Mutant, Simulation, Tally};

/// Runs the protocol over models of every server, thousands of seeded schedules.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, about)]
struct Cli {
    /// Schedules to run
    #[arg(long, env = "RUNS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Seed of the first; the others follow. By default the time
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// Take each step out in turn, and see after how many runs it is noticed
    #[arg(long)]
    mutants: bool,
}

fn say(line: &str) {
    // A closed terminal must not end the run.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seed = cli.seed.unwrap_or_else(clock);
    say(&format!("SEED={seed} RUNS={}", cli.runs));
    let sound = if cli.mutants { try_mutants(&cli, seed)? } else { try_protocol(&cli, seed)? };
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_protocol(cli: &Cli, seed: u64) -> anyhow::Result<bool> {
    let started = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let shares: Vec<anyhow::Result<(Tally, Vec<Broken>)>> = std::thread::scope(|scope| {
        let share = |worker| {
            scope.spawn(move || {
                let simulation = Simulation::new(None)?;
                let (mut all, mut broken) = (Tally::default(), Vec::new());
                for n in (worker..cli.runs).step_by(usize::try_from(workers)?) {
                    match simulation.run(seed.wrapping_add(n)) {
                        Ok(tally) => all = add(all, tally),
                        Err(run) => broken.push(run),
                    }
                }
                Ok((all, broken))
            })
        };
        let running: Vec<_> = (0..workers).map(share).collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|share| share.unwrap_or_else(|_| Err(anyhow::anyhow!("a run panicked"))))
            .collect()
    });
    let (mut all, mut broken) = (Tally::default(), Vec::new());
    for share in shares {
        let (tally, mut more) = share?;
        all = add(all, tally);
        broken.append(&mut more);
    }
    say(&format!(
        "{} runs in {:.1} s: {} steps, {} faults, {} presses of Buy, {} accepted, {} given up, \
         {} reservations lost by Redis",
        cli.runs,
        started.elapsed().as_secs_f64(),
        all.steps,
        all.faults,
        all.attempts,
        all.accepted,
        all.given_up,
        all.lost_by_redis
    ));
    for Broken { seed, what } in broken.iter().take(10) {
        say(&format!("✗ {what}: again with RUNS=1 SEED={seed}"));
    }
    say(&format!("{} of {} runs broke an invariant", broken.len(), cli.runs));
    Ok(broken.is_empty())
}

fn try_mutants(cli: &Cli, seed: u64) -> anyhow::Result<bool> {
    let mut all_noticed = true;
    for mutant in Mutant::ALL {
        let simulation = Simulation::new(Some(*mutant))?;
        let name = mutant.name();
        let noticed =
            (0..cli.runs).find_map(|n| Some((n + 1, simulation.run(seed.wrapping_add(n)).err()?)));
        match noticed {
            Some((runs, Broken { what, .. })) => say(&format!("✓ {name:<55} {runs:>5}  {what}")),
            None => {
                all_noticed = false;
                say(&format!("✗ {name:<55} never noticed"));
            }
        }
    }
    say("taken out alone these change nothing, as another line of defence stands behind each:");
    for mutant in Mutant::SECOND_LINE {
        let simulation = Simulation::new(Some(*mutant))?;
        let broken = (0..cli.runs).filter(|n| simulation.run(seed.wrapping_add(*n)).is_err());
        say(&format!("  {:<55} {:>5} of {} runs", mutant.name(), broken.count(), cli.runs));
    }
    Ok(all_noticed)
}

fn add(a: Tally, b: Tally) -> Tally {
    Tally {
        steps: a.steps + b.steps,
        faults: a.faults + b.faults,
        attempts: a.attempts + b.attempts,
        accepted: a.accepted + b.accepted,
        lost_by_redis: a.lost_by_redis + b.lost_by_redis,
        given_up: a.given_up + b.given_up,
    }
}
