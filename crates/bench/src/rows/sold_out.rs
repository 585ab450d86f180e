//! Buyers after the last unit: strangers, who are told 400, and owners, who are told 409 with the
//! reservation they have.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use uuid::Uuid;

use super::accepted::{self, CONNECTIONS, ROUNDS};
use crate::accounting;
use crate::batches;
use crate::http::Connection;
use crate::lab::{Lab, url};
use crate::row::{Bound, Row};
use crate::system::{Claimed, System};
use crate::wrk::{self, Buyers, Pressed};

/// Units, and so owners.
const OWNERS: u32 = 1000;
/// Requests in a thousand that come from owners.
const OWNED: u32 = 100;

/// Measures each number of connections.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let system = lab.system().await?;
    let product = system.sell(i64::from(OWNERS)).await?;
    let owners = sell_all(system, product).await?;
    system.wait_settled(&[product]).await?.context("the last units are not settled")?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let mut row = measure(lab, product, connections).await?;
        let system = lab.system().await?;
        ask_everybody(system, product, &owners, &mut row).await?;
        let claimed = Claimed { accepted: u64::from(OWNERS), unseen: 0 };
        system.check(&mut row, &[product], claimed).await?;
        rows.push(row);
    }
    Ok(rows)
}

async fn sell_all(system: &System, product: i64) -> anyhow::Result<HashMap<i64, Uuid>> {
    let mut connection = Connection::open(system.address()?).await?;
    let mut owners = HashMap::new();
    for user in 1..=i64::from(OWNERS) {
        let answer = connection.buy(user, product).await?;
        ensure!(answer.status == 202, "user {user} was answered {}", answer.status);
        owners.insert(user, answer.reservation().context("a 202 without a reservation")?);
    }
    Ok(owners)
}

async fn measure(lab: &mut Lab, product: i64, connections: usize) -> anyhow::Result<Row> {
    let length: Duration = lab.length;
    let mut row = Row::new("sold-out", format!("{connections} connections"));
    let before = batches::answers(lab.system().await?).await?;
    let (mut runs, mut ceilings) = (Vec::new(), Vec::new());
    let mut counted = 0;
    for _ in 0..ROUNDS {
        ceilings.push(accepted::press_ceiling(lab, connections, length, &mut row).await?);
        let (first_user, owned, owners) = (lab.users(), OWNED, OWNERS);
        let system = lab.system().await?;
        let buyers = Buyers { first_user, product, owned, owners, ..Buyers::default() };
        let meter = system.meter.read();
        let run = wrk::press(&url(&system.stack), connections, length, &buyers).await?;
        counted += run.requests;
        let usage = system.meter.read().since(&meter, run.requests);
        accounting::add(&mut row.usage, &usage, counted);
        runs.push(run);
    }
    row.per_second = Some(accepted::mean(runs.iter().map(Pressed::per_second)));
    row.ceiling_per_second = Some(accepted::mean(ceilings.iter().map(Pressed::per_second)));
    accepted::add_latencies(&mut row, runs.iter());
    let broken: u64 = runs.iter().map(|run| run.broken).sum();
    row.check("no connection breaks", broken == 0, format!("{broken} broken"));
    if connections == 256 {
        row.goal("of the ceiling", Bound::AtLeast(0.9), row.ratio().unwrap_or(f64::NAN));
    }
    let after = batches::answers(lab.system().await?).await?;
    let told = |code: &str| {
        let at = |answers: &std::collections::BTreeMap<String, u64>| {
            answers.get(code).copied().unwrap_or(0)
        };
        at(&after) - at(&before)
    };
    let (refused, owned) = (told("SOLD_OUT"), told("ALREADY_PURCHASED"));
    let all: u64 = after.keys().map(|code| told(code)).sum();
    // wrk drops what is under way at the end.
    let unseen = u64::try_from(connections)? * u64::from(ROUNDS);
    let matches = refused + owned == all && (counted..=counted + unseen).contains(&all);
    let figures = format!("{refused} sold out, {owned} owners, {counted} answers, {all} counted");
    row.check("only 400 and 409", matches, figures);
    Ok(row)
}

/// Asks every owner again, and a stranger: whoever owns a unit must hear of that very reservation.
async fn ask_everybody(
    system: &System,
    product: i64,
    owners: &HashMap<i64, Uuid>,
    row: &mut Row,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(system.address()?).await?;
    let mut lied_to = 0;
    for (user, reservation) in owners {
        let answer = connection.buy(*user, product).await?;
        if answer.status != 409 || answer.reservation() != Some(*reservation) {
            lied_to += 1;
        }
    }
    let stranger = connection.buy(i64::from(OWNERS) + 1, product).await?.status;
    row.check(
        "owners are told the truth",
        lied_to == 0 && stranger == 400,
        format!("{lied_to} of {} owners told otherwise, a stranger {stranger}", owners.len()),
    );
    Ok(())
}
