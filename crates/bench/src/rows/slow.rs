//! Buyers at a constant rate beside a thousand slow clients, at nginx and at an edge itself.
//!
//! Alone and beside, in turn and several times, because the machine's own noise is as large as what
//! is looked for. Invariant: every request of a buyer is accepted, attack or not.

use std::net::SocketAddr;
use std::time::Duration;

use crate::attack::{Attack, CONNECTIONS, Mode};
use crate::lab::{Lab, PLENTY};
use crate::open_loop::{self, Plan, Told};
use crate::row::Row;
use crate::rows::latency;
use crate::system::System;

/// Times both are measured.
const ROUNDS: usize = 3;
/// Presses a second.
const RATE: f64 = 150.0;
/// More than one run has.
const USERS_PER_RUN: i64 = 1_000_000;
/// Connections buyers keep.
const BUYERS: usize = 32;
/// An attack goes on for this much longer than the buyers beside it press.
const LEAD: Duration = Duration::from_secs(3);
/// What p99 beside an attack may be of p99 without one.
const RATIO_MAX: f64 = 2.0;

/// Who is attacked, and serves the buyers.
#[derive(Debug, Clone, Copy)]
enum Door {
    Nginx,
    Edge,
}

/// Measures every mode at both doors.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for door in [Door::Nginx, Door::Edge] {
        for mode in Mode::ALL {
            rows.push(measure(lab, door, mode).await?);
        }
    }
    Ok(rows)
}

/// What buyers were told in all rounds, and p99 of each.
#[derive(Debug, Default)]
struct Rounds {
    told: Told,
    p99s: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, mut told: Told) {
        self.p99s.extend(told.accepted.quantile_ms(0.99));
        self.told.append(&told);
    }

    /// The range of p99, a round at a time: how much of a ratio is noise.
    fn range(&self) -> (f64, f64) {
        let ends = |(low, high): (f64, f64), p99: &f64| (low.min(*p99), high.max(*p99));
        self.p99s.iter().fold((f64::INFINITY, 0.0), ends)
    }
}

async fn measure(lab: &mut Lab, door: Door, mode: Mode) -> anyhow::Result<Row> {
    let (length, mut first_user) = (lab.length * 2, lab.users());
    let system = lab.system().await?;
    let product = system.sell(PLENTY).await?;
    let (address, name) = match door {
        Door::Nginx => (system.address()?, "nginx"),
        Door::Edge => (system.edges()?[0], "an edge"),
    };
    let mut row = Row::new("slow", format!("{} at {name}", mode.name()));
    let (mut alone, mut beside, mut closed) = (Rounds::default(), Rounds::default(), 0);
    for round in 0..ROUNDS {
        // Each comes first as often: what a machine does meanwhile hits both.
        for attacked in [round % 2 == 1, round % 2 == 0] {
            let plan = plan(address, length, product, first_user);
            if attacked {
                let base = format!("http://{address}");
                let attack = Attack::start(mode, &base, length + LEAD)?;
                // From its first connection on: building up costs the most.
                let (told, stands) = tokio::join!(open_loop::run(&plan), attack.stands());
                beside.add(told?);
                stands?;
                closed += attack.end().await?;
            } else {
                alone.add(open_loop::run(&plan).await?);
            }
            first_user += USERS_PER_RUN;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    let of_all = closed as f64 / (ROUNDS * CONNECTIONS) as f64;
    row.fact("connections", CONNECTIONS as f64);
    row.fact("% of them the server closed", of_all * 100.0);
    judge(system, product, &mut row, alone, beside).await?;
    Ok(row)
}

fn plan(address: SocketAddr, length: Duration, product: i64, first_user: i64) -> Plan {
    let (connections, waiting_max) = (BUYERS, usize::MAX);
    Plan { address, connections, rate: RATE, length, product, first_user, waiting_max }
}

async fn judge(
    system: &mut System,
    product: i64,
    row: &mut Row,
    mut alone: Rounds,
    mut beside: Rounds,
) -> anyhow::Result<()> {
    let p50 = alone.told.accepted.quantile_ms(0.5).unwrap_or(f64::NAN);
    let p99 = alone.told.accepted.quantile_ms(0.99).unwrap_or(f64::NAN);
    row.fact("p50 ms alone", p50);
    row.fact("p99 ms alone", p99);
    latency::add(row, &mut beside.told);
    let attacked = row.p99_ms.unwrap_or(f64::NAN);
    let ((low, high), (lowest, highest)) = (alone.range(), beside.range());
    let figures = format!(
        "{attacked:.1} ms over {p99:.1} ms is {:.2}; a round alone {low:.1} to {high:.1}, beside \
         {lowest:.1} to {highest:.1}",
        attacked / p99
    );
    row.check("p99 beside is at most twice p99 alone", attacked <= RATIO_MAX * p99, figures);
    beside.told.append(&alone.told);
    let settled = system.wait_settled(&[product]).await?;
    latency::check(system, product, &beside.told, settled, row).await
}
