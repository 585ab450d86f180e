//! Buyers who are all accepted, through nginx and three edges, in turn with the ceiling.
//!
//! The cost counts from the first press until everything is settled.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::accounting::{self, Usage};
use crate::batches::Batches;
use crate::lab::{Lab, PLENTY, Pace, url};
use crate::row::{Bound, Row};
use crate::system::{Claimed, SETTLED_GOAL, System};
use crate::wrk::{self, Buyers, Pressed};

/// Connections measured.
pub(crate) const CONNECTIONS: [usize; 3] = [64, 256, 1000];
/// Times system and ceiling take turns: whatever disturbs the machine then disturbs both.
pub(crate) const ROUNDS: u32 = 4;

/// One run against the system, and what it cost.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) pressed: Pressed,
    /// From the last press until everything was settled; `None` when it took too long.
    pub(crate) settled_after: Option<Duration>,
    pub(crate) usage: BTreeMap<&'static str, Usage>,
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn pace(&self) -> Pace {
        let seconds = self.pressed.micros as f64 / 1e6;
        let accepted = self.pressed.accepted() as f64;
        let settled = self.settled_after.unwrap_or(Duration::MAX).as_secs_f64();
        Pace {
            accepted_per_second: accepted / seconds,
            settled_per_second: accepted / (seconds + settled),
        }
    }
}

/// Presses Buy for one product and waits until everything is settled.
///
/// # Errors
/// When wrk or a store does not answer.
pub(crate) async fn press(
    system: &mut System,
    product: i64,
    first_user: i64,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let buyers = Buyers { first_user, product, ..Buyers::default() };
    let before = system.meter.read();
    let pressed = wrk::press(&url(&system.stack), connections, length, &buyers).await?;
    let settled_after = system.wait_settled(&[product]).await?;
    let usage = system.meter.read().since(&before, pressed.requests);
    Ok(Run { pressed, settled_after, usage })
}

/// Measures each number of connections.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        rows.push(measure(lab, connections).await?);
    }
    Ok(rows)
}

async fn measure(lab: &mut Lab, connections: usize) -> anyhow::Result<Row> {
    let length = lab.length;
    let mut row = Row::new("accepted", format!("{connections} connections"));
    let product = lab.system().await?.sell(PLENTY).await?;
    let batches = Batches::read(lab.system().await?).await?;
    let (mut runs, mut ceilings) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ceilings.push(press_ceiling(lab, connections, length, &mut row).await?);
        let first_user = lab.users();
        let system = lab.system().await?;
        runs.push(press(system, product, first_user, connections, length).await?);
    }
    let system = lab.system().await?;
    Batches::read(system).await?.since(&batches).add_to(&mut row);
    summarise(&mut row, &runs, &ceilings);
    let unseen = u64::try_from(connections)? * u64::from(ROUNDS);
    let accepted = runs.iter().map(|run| run.pressed.accepted()).sum();
    system.check(&mut row, &[product], Claimed { accepted, unseen }).await?;
    row.fact("settled/s", mean(runs.iter().map(|run| run.pace().settled_per_second)));
    if connections == 256 {
        row.goal("of the ceiling", Bound::AtLeast(0.55), row.ratio().unwrap_or(f64::NAN));
    }
    Ok(row)
}

/// One run against the ceiling; what it cost is added to the row.
pub(crate) async fn press_ceiling(
    lab: &mut Lab,
    connections: usize,
    length: Duration,
    row: &mut Row,
) -> anyhow::Result<Pressed> {
    let ceiling = lab.ceiling().await?;
    let before = ceiling.meter.read();
    let buyers = Buyers { first_user: 1, product: 1, ..Buyers::default() };
    let pressed = wrk::press(&url(&ceiling.stack), connections, length, &buyers).await?;
    let usage = ceiling.meter.read().since(&before, pressed.requests);
    row.ceiling_cost(&usage, pressed.requests);
    Ok(pressed)
}

/// Rates, percentiles and costs over the rounds. Percentiles are those of the worst round.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn summarise(row: &mut Row, runs: &[Run], ceilings: &[Pressed]) {
    row.per_second = Some(mean(runs.iter().map(|run| run.pace().accepted_per_second)));
    add_latencies(row, runs.iter().map(|run| &run.pressed));
    row.ceiling_per_second = Some(mean(ceilings.iter().map(Pressed::per_second)));
    let mut counted = 0;
    for run in runs {
        counted += run.pressed.requests;
        accounting::add(&mut row.usage, &run.usage, counted);
    }
    let strange: u64 = runs.iter().map(|run| run.pressed.not_2xx + run.pressed.broken).sum();
    row.check("only 202s", strange == 0, format!("{strange} others of {counted}"));
    let settled = runs.iter().map(|run| run.settled_after).collect::<Option<Vec<_>>>();
    let longest = settled.and_then(|all| all.into_iter().max());
    let figures = longest.map_or("never".to_owned(), |after| format!("{} ms", after.as_millis()));
    let in_time = longest.is_some_and(|after| after <= SETTLED_GOAL);
    row.check("settled within 2 s of the end", in_time, figures);
    if let Some(after) = longest {
        row.fact("settled after ms", after.as_millis() as f64);
    }
}

/// The worst round's percentiles.
pub(crate) fn add_latencies<'a>(row: &mut Row, runs: impl Iterator<Item = &'a Pressed>) {
    let worse = |known: Option<f64>, micros: f64| {
        Some(known.map_or(micros / 1000.0, |known| known.max(micros / 1000.0)))
    };
    for run in runs {
        row.p50_ms = worse(row.p50_ms, run.p50);
        row.p99_ms = worse(row.p99_ms, run.p99);
        row.p999_ms = worse(row.p999_ms, run.p999);
    }
}

/// The mean; NaN of nothing.
#[expect(clippy::cast_precision_loss, reason = "a few values")]
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len() as f64
}
