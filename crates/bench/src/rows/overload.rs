//! Five times as many requests a second as the system can accept: what it still accepts, and what
//! it tells the others.
//!
//! The load comes from the same machine. When its connections are all busy, a request that is due
//! is turned away by this program, as a full accept queue would; the row says how many were sent.

use crate::accounting::resident_of;
use crate::lab::{Lab, PLENTY};
use crate::open_loop::{self, Plan};
use crate::row::{Bound, Row};
use crate::system::Claimed;

/// Times the peak.
const TIMES: f64 = 5.0;
/// Connections: more than nginx lets through at once (3 x 2,048), so that some are refused there.
const CONNECTIONS: usize = 8000;
/// Memory that grows no more than this is flat.
const FLAT: f64 = 1.1;

/// Measures one flood.
///
/// # Errors
/// When something does not start or answer.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let peak = lab.pace(256).await?.accepted_per_second;
    let mut row = Row::new("overload", "5 times the peak");
    let (length, first_user) = (lab.length * 2, lab.users());
    let system = lab.system().await?;
    let product = system.sell(PLENTY).await?;
    let plan = Plan {
        address: system.address()?,
        connections: CONNECTIONS,
        rate: TIMES * peak,
        length,
        product,
        first_user,
        waiting_max: 0,
    };
    let edges_before = resident_of(&system.stack, "edge-");
    let before = system.meter.read();
    let flood = open_loop::run(&plan);
    let look = async {
        tokio::time::sleep(length / 3).await;
        resident_of(&system.stack, "edge-")
    };
    let (told, edges_early) = tokio::join!(flood, look);
    let mut told = told?;
    let edges_after = resident_of(&system.stack, "edge-");
    let settled = system.wait_settled(&[product]).await?;
    row.usage = system.meter.read().since(&before, told.due - told.turned_away);
    super::latency::add(&mut row, &mut told);
    row.ceiling_per_second = Some(peak);
    row.goal("goodput over peak", Bound::AtLeast(0.8), row.ratio().unwrap_or(f64::NAN));
    row.fact("due/s", told.due as f64 / told.seconds);
    row.fact("sent/s", (told.due - told.turned_away) as f64 / told.seconds);
    row.fact("503s/s", told.count(503) as f64 / told.seconds);
    row.fact("p50 ms of a refusal", told.refused.quantile_ms(0.5).unwrap_or(0.0));
    row.fact("p99 ms of a refusal", told.refused.quantile_ms(0.99).unwrap_or(0.0));
    row.fact("edges MiB before", edges_before as f64 / 1_048_576.0);
    row.fact("edges MiB after", edges_after as f64 / 1_048_576.0);
    // Connections cost something once; a queue without bound would grow until the end.
    let grown = edges_after as f64 / edges_early as f64;
    row.goal("edges' memory, end over a third in", Bound::AtMost(FLAT), grown);
    let other = told.by_status.iter().filter(|(status, _)| !matches!(status, 202 | 503));
    let strange: u64 = other.map(|(_, count)| count).sum::<u64>() + told.broken;
    row.check("only 202s and 503s", strange == 0, told.others());
    let missing = system.count_missing(&told.reservations).await?;
    row.check("every reservation is confirmed", missing == 0, format!("{missing} missing"));
    let quiet = settled.map_or("never".to_owned(), |after| format!("{} ms", after.as_millis()));
    row.check("everything is settled", settled.is_some(), quiet);
    // A 503 may have an unknown outcome, and says so.
    let unseen = told.count(503) + told.broken;
    let claimed = Claimed { accepted: told.count(202), unseen };
    system.check(&mut row, &[product], claimed).await?;
    Ok(vec![row])
}
