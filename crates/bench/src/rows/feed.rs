//! People who watch a sale: from the COMMIT that changes the stock until each of them knows of it.
//!
//! PostgreSQL notes the time of each commit (`track_commit_timestamp`), which is before the commit
//! is on disk, so the figure holds the disk as well. For every commit and every client the time
//! counts until that client has the stock of that commit or of a later one: a skipped frame is not
//! left out, it waits for the next.

use std::time::Duration;

use anyhow::Context;

use crate::accounting::{Meter, resident_of};
use crate::lab::{Lab, PLENTY};
use crate::open_loop::{self, Plan};
use crate::percentiles::Latencies;
use crate::row::{Bound, Row};
use crate::system::{Claimed, System, connect};
use crate::watcher::{Crowd, Seen};

/// Presses a second meanwhile.
const RATE: f64 = 2000.0;
/// Connections of the buyers.
const CONNECTIONS: usize = 64;
/// Buyers who may wait for a connection: 5 s worth, so that a feed that starves them ends, too.
const WAITING_MAX: usize = 10_000;
/// A client must know the end of the sale this soon.
const QUIET: Duration = Duration::from_secs(1);

/// A commit: the stock after it, and its time in microseconds of the Unix epoch.
type Commit = (i64, i64);

/// Measures a thousand clients, then ten thousand.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    lab.retire().await;
    let mut system = System::start(&[]).await?;
    note_commit_times(&mut system).await?;
    let mut rows = Vec::new();
    for (clients, p99_max) in [(1000, 100.0), (10_000, 500.0)] {
        let mut row = measure(lab, &mut system, clients).await?;
        let p99 = row.p99_ms.unwrap_or(f64::NAN);
        row.goal("p99 ms", Bound::AtMost(p99_max), p99);
        rows.push(row);
    }
    system.shutdown().await;
    Ok(rows)
}

async fn note_commit_times(system: &mut System) -> anyhow::Result<()> {
    system.sql.batch_execute("ALTER SYSTEM SET track_commit_timestamp = on").await?;
    system.stack.stop("postgres").await?;
    system.stack.resume("postgres").await?;
    system.stack.wait_ready().await?;
    system.sql = connect(&system.stack).await?;
    system.meter = Meter::of(&system.stack);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn measure(lab: &mut Lab, system: &mut System, clients: usize) -> anyhow::Result<Row> {
    let mut row = Row::new("feed", format!("{clients} clients"));
    row.unit = "frames";
    let product = system.sell(PLENTY).await?;
    let memory = |prefix| resident_of(&system.stack, prefix);
    let (edges, nginx) = (memory("edge-"), system.meter.read().memory_of("nginx"));
    let crowd = Crowd::open(system.address()?, product, clients).await?;
    tokio::time::sleep(QUIET).await;
    let grown = |after: u64, before: u64| after.saturating_sub(before) as f64 / clients as f64;
    let each = grown(memory("edge-"), edges) / 1024.0;
    row.goal("KiB a client on the edge", Bound::AtMost(12.0), each);
    let nginx = grown(system.meter.read().memory_of("nginx"), nginx) / 1024.0;
    row.fact("KiB a client in nginx", nginx);

    let plan = Plan {
        address: system.address()?,
        connections: CONNECTIONS,
        rate: RATE,
        length: lab.length * 2,
        product,
        first_user: lab.users(),
        waiting_max: WAITING_MAX,
    };
    let before = system.meter.read();
    let mut told = open_loop::run(&plan).await?;
    let settled = system.wait_settled(&[product]).await?.context("not everything is settled")?;
    tokio::time::sleep(QUIET).await;
    let after = system.meter.read();
    let (seen, lost) = crowd.close();

    let commits = read_commits(system, product).await?;
    let (mut latencies, ignorant) = latencies(&commits, &seen);
    let frames: usize = seen.iter().map(Vec::len).sum();
    row.usage = after.since(&before, frames as u64);
    let seconds = told.seconds + settled.as_secs_f64();
    row.per_second = Some(frames as f64 / seconds);
    row.p50_ms = latencies.quantile_ms(0.5);
    row.p99_ms = latencies.quantile_ms(0.99);
    row.p999_ms = latencies.quantile_ms(0.999);
    row.fact("commits times clients", latencies.len() as f64);
    row.fact("commits/s", commits.len() as f64 / seconds);
    row.fact("frames/s each", frames as f64 / seconds / clients as f64);
    row.fact("buys/s meanwhile", told.goodput());
    row.fact("buy p50 ms meanwhile", told.accepted.quantile_ms(0.5).unwrap_or(f64::NAN));
    row.fact("buy p99 ms meanwhile", told.accepted.quantile_ms(0.99).unwrap_or(f64::NAN));
    row.fact("buyers never sent", told.turned_away as f64);
    row.check("nobody is disconnected", lost == 0, format!("{lost} of {clients}"));
    row.check("everybody knows the end", ignorant == 0, format!("{ignorant} of {clients} do not"));
    let others = told.due - told.turned_away - told.count(202);
    row.check("only 202s", others == 0, told.others());
    let claimed = Claimed { accepted: told.count(202), unseen: others };
    system.check(&mut row, &[product], claimed).await?;
    Ok(row)
}

/// Every commit that changed the product's stock, in order. Each order carries the transaction that
/// inserted it, so the stock after each commit follows from what came before.
async fn read_commits(system: &System, product: i64) -> anyhow::Result<Vec<Commit>> {
    let query = "SELECT (extract(epoch FROM min(pg_xact_commit_timestamp(xmin))) * 1e6)::bigint, \
                 sum(quantity)::bigint FROM orders WHERE product_id = $1 GROUP BY xmin::text \
                 ORDER BY 1";
    let rows = system.sql.query(query, &[&product]).await?;
    let mut stock = PLENTY;
    let commits = rows.iter().map(|row| {
        stock -= row.get::<_, i64>(1);
        (stock, row.get(0))
    });
    Ok(commits.collect())
}

/// For every commit and client the time until the client knew, and how many clients never heard of
/// the last.
fn latencies(commits: &[Commit], seen: &[Vec<Seen>]) -> (Latencies, usize) {
    let mut all = Latencies::default();
    let mut ignorant = 0;
    for seen in seen {
        let mut frames = seen.iter().peekable();
        for (stock, committed) in commits {
            // Stock only falls: a frame with as much or less knows of this commit.
            while frames.next_if(|(seen, _)| seen > stock).is_some() {}
            let Some((_, read)) = frames.peek() else {
                ignorant += 1;
                break;
            };
            let micros = u64::try_from(read - committed).unwrap_or(0);
            all.record(Duration::from_micros(micros));
        }
    }
    (all, ignorant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_until_its_stock_or_a_later_one_is_known() {
        let commits = [(9, 1_000), (8, 2_000), (7, 3_000)];
        // The first client skips 8; the second never hears of 7.
        let seen = [vec![(10, 500), (9, 1_500), (7, 9_000)], vec![(8, 4_000)]];
        let (mut all, ignorant) = latencies(&commits, &seen);
        assert_eq!((all.len(), ignorant), (5, 1));
        assert_eq!(all.quantile_ms(1.0), Some(7.0));
        assert_eq!(all.quantile_ms(0.0), Some(0.5));
    }
}
