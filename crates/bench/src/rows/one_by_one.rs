//! The same system without batches: one call of the script, one message and one transaction an
//! order, which is how such systems are usually built.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};

use super::accepted::{self, CONNECTIONS};
use crate::accounting;
use crate::lab::{Lab, PLENTY, url};
use crate::row::{Bound, Row};
use crate::system::{Claimed, System};
use crate::wrk::{self, Buyers};

/// What makes every stage take one order at a time.
const ENV: [(&str, &str); 3] =
    [("EDGE_BATCH_MAX", "1"), ("EDGE_MESSAGE_BATCHES_MAX", "1"), ("SETTLER_BATCH_MAX", "1")];
/// How long it may settle undisturbed, to see what it can do.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Measures each number of connections.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    // Measured before the system that batches is stopped.
    let reference = lab.pace(256).await?;
    lab.retire().await;
    let mut system = System::start(&ENV).await?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let mut row = measure(lab, &mut system, connections).await?;
        if connections == 256 {
            let accepted = reference.accepted_per_second / row.per_second.unwrap_or(f64::NAN);
            row.goal("accepted, ours over this", Bound::AtLeast(3.0), accepted);
            let settled = row.facts.iter().find(|(name, _)| name == "settled/s");
            let settled = reference.settled_per_second / settled.map_or(f64::NAN, |fact| fact.1);
            row.goal("settled, ours over this", Bound::AtLeast(30.0), settled);
        }
        rows.push(row);
    }
    system.shutdown().await;
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn measure(lab: &mut Lab, system: &mut System, connections: usize) -> anyhow::Result<Row> {
    let mut row = Row::new("one-by-one", format!("{connections} connections"));
    let product = system.sell(PLENTY).await?;
    let buyers = Buyers { first_user: lab.users(), product, ..Buyers::default() };
    let before = system.meter.read();
    let run = wrk::press(&url(&system.stack), connections, lab.length, &buyers).await?;
    row.usage = system.meter.read().since(&before, run.requests);
    let meanwhile = settled(system, product).await?;
    tokio::time::sleep(UNDISTURBED).await;
    let undisturbed = settled(system, product).await? - meanwhile;
    let seconds = run.micros as f64 / 1e6;
    row.per_second = Some(run.accepted() as f64 / seconds);
    accepted::add_latencies(&mut row, std::iter::once(&run));
    row.fact("settled/s", meanwhile as f64 / seconds);
    row.fact("settled/s, no buyers", undisturbed as f64 / UNDISTURBED.as_secs_f64());
    row.check("no connection breaks", run.broken == 0, format!("{} broken", run.broken));
    // One at a time an edge cannot serve so many in time, and turns away whom it could not.
    row.fact("turned away", run.not_2xx as f64);
    // The backlog would take minutes one by one; nobody measures that.
    let helper = helper(system)?;
    let drained = system.wait_settled(&[product]).await?;
    row.check(
        "everything is settled",
        drained.is_some(),
        "with the help of a settler that batches",
    );
    drop(helper);
    let claimed = Claimed { accepted: run.accepted(), unseen: u64::try_from(connections)? };
    system.check(&mut row, &[product], claimed).await?;
    row.fact("edges MiB", accounting::resident_of(&system.stack, "edge-") as f64 / 1_048_576.0);
    Ok(row)
}

async fn settled(system: &System, product: i64) -> anyhow::Result<i64> {
    let query = "SELECT total - stock FROM products WHERE id = $1";
    Ok(system.sql.query_one(query, &[&product]).await?.get(0))
}

/// A settler with the default settings; it is killed when dropped.
fn helper(system: &System) -> anyhow::Result<Child> {
    let settler = std::env::current_exe()?.with_file_name("settler");
    Command::new(settler)
        .arg("run")
        .env("REDIS_URL", system.stack.redis_url())
        .env("AMQP_URL", system.stack.amqp_url())
        .env("DATABASE_URL", system.stack.database_url())
        .env("PROBE_ADDR", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting a settler")
}
