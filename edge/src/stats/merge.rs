//! From contributions to a frame: pure, with the time as an argument.
//!
//! Ages follow the clock of whoever reads, rates that of whoever counted, so neither clocks that
//! differ nor a contribution that was held up on its way change a figure.
//! Invariant: at most [`PROCESSES_MAX`] processes and a few seconds of each are kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::contract::stats::{
    Contribution, EdgeFigures, Figures, LATENCY_BUCKETS, LatencyCounts, SettlerFigures,
};
use domain::contract::stats_frame::{AnswerRates, EdgeTile, SettlerTile, StatsFrame};

use super::history::{History, SILENT};
use super::latency;

/// A process silent for so long is forgotten.
const GONE: Duration = Duration::from_secs(60);
/// Processes kept at most: more than anyone runs, a rolling restart under new names included, and
/// some 1 MB while one settler leads. Those known are kept; a newcomer waits until one is gone.
const PROCESSES_MAX: usize = 256;
/// What percentiles cover: five contributions, so that some buys are among them.
const LATENCY_WINDOW: Duration = Duration::from_secs(5);

/// Every process that was heard lately.
#[derive(Debug, Default)]
pub(super) struct Processes {
    edges: BTreeMap<String, History<EdgeFigures>>,
    settlers: BTreeMap<String, History<SettlerFigures>>,
}

impl Processes {
    /// Takes what was heard at `now`, unless it is known or there is no room for its process.
    pub(super) fn take(&mut self, contribution: Contribution, now: Instant) {
        let Contribution { name, started_ms, uptime_ms, ready, figures, .. } = contribution;
        let known = match figures {
            Figures::Edge(_) => self.edges.contains_key(&name),
            Figures::Settler(_) => self.settlers.contains_key(&name),
        };
        if !known && self.edges.len() + self.settlers.len() >= PROCESSES_MAX {
            self.forget_gone(now);
            if self.edges.len() + self.settlers.len() >= PROCESSES_MAX {
                return;
            }
        }
        let of = (started_ms, uptime_ms, ready);
        match figures {
            Figures::Edge(figures) => {
                self.edges.entry(name).or_default().take(of, figures, LATENCY_WINDOW, now);
            }
            Figures::Settler(figures) => {
                self.settlers.entry(name).or_default().take(of, figures, Duration::ZERO, now);
            }
        }
    }

    fn forget_gone(&mut self, now: Instant) {
        self.edges.retain(|_, edge| edge.age(now) < GONE);
        self.settlers.retain(|_, settler| settler.age(now) < GONE);
    }

    /// What is known at `now`, which is `server_time` in words.
    pub(super) fn frame(&mut self, server_time: String, now: Instant) -> StatsFrame {
        self.forget_gone(now);
        let (mut answers, mut latencies) = (AnswerRates::default(), [0; LATENCY_BUCKETS]);
        let edges = self.edges.iter().map(|(name, edge)| {
            let rates = answer_rates(edge, now);
            add(&mut answers, &rates);
            add_latencies(&mut latencies, edge, now);
            edge_tile(name, edge, &rates, now)
        });
        let edges: Vec<_> = edges.collect();
        let leader = self.leader(now);
        let settlers = self.settlers.iter().map(|(name, settler)| SettlerTile {
            name: name.clone(),
            ready: settler.is_ready(now),
            leads: Some(name) == leader,
            settled_per_second: rounded(settler.rate(now, |figures| figures.settled)),
            age_ms: millis(settler.age(now)),
        });
        let settlers: Vec<_> = settlers.collect();
        let settled = self.settlers.values().map(|it| it.rate(now, |figures| figures.settled));
        let led = leader.and_then(|name| self.settlers[name].newest()?.leader.clone());
        let led = led.unwrap_or_default();
        StatsFrame {
            server_time,
            answers_per_second: each_rounded(&answers),
            latency_ms: latency::of(&latencies),
            settled_per_second: rounded(settled.sum()),
            queue_messages: led.queue_messages,
            dead_letters: led.dead_letters,
            edges,
            settlers,
            products: led.products,
        }
    }

    /// Whoever said last that it leads. The one before may have died a moment ago.
    fn leader(&self, now: Instant) -> Option<&String> {
        let leads = |settler: &History<SettlerFigures>| {
            settler.age(now) <= SILENT && settler.newest().is_some_and(|it| it.leader.is_some())
        };
        let leading = self.settlers.iter().filter(|(_, settler)| leads(settler));
        leading.min_by_key(|(_, settler)| settler.age(now)).map(|(name, _)| name)
    }
}

fn answer_rates(edge: &History<EdgeFigures>, now: Instant) -> AnswerRates {
    AnswerRates {
        accepted: edge.rate(now, |figures| figures.answers.accepted),
        replayed: edge.rate(now, |figures| figures.answers.replayed),
        sold_out: edge.rate(now, |figures| figures.answers.sold_out),
        refused: edge.rate(now, |figures| figures.answers.refused),
        failed: edge.rate(now, |figures| figures.answers.failed),
    }
}

fn add(sum: &mut AnswerRates, more: &AnswerRates) {
    sum.accepted += more.accepted;
    sum.replayed += more.replayed;
    sum.sold_out += more.sold_out;
    sum.refused += more.refused;
    sum.failed += more.failed;
}

fn each_rounded(rates: &AnswerRates) -> AnswerRates {
    AnswerRates {
        accepted: rounded(rates.accepted),
        replayed: rounded(rates.replayed),
        sold_out: rounded(rates.sold_out),
        refused: rounded(rates.refused),
        failed: rounded(rates.failed),
    }
}

fn edge_tile(
    name: &str,
    edge: &History<EdgeFigures>,
    rates: &AnswerRates,
    now: Instant,
) -> EdgeTile {
    let newest = edge.newest();
    let all = rates.accepted + rates.replayed + rates.sold_out + rates.refused + rates.failed;
    EdgeTile {
        name: name.to_owned(),
        ready: edge.is_ready(now),
        requests_per_second: rounded(all),
        connections: newest.map_or(0, |figures| figures.connections),
        ws_clients: newest.map_or(0, |figures| figures.ws_clients),
        age_ms: millis(edge.age(now)),
    }
}

/// The answers of an edge since its oldest figures, by how long they took.
fn add_latencies(sum: &mut LatencyCounts, edge: &History<EdgeFigures>, now: Instant) {
    let Some((oldest, newest)) = edge.span(now) else { return };
    for (sum, (before, after)) in sum.iter_mut().zip(oldest.latency.iter().zip(newest.latency)) {
        *sum = sum.saturating_add(after.saturating_sub(*before));
    }
}

/// A tenth is as much as a wall shows.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
