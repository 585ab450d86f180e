//! What grows: a thousand products of which one is hot, and a sale of ten million units of which
//! two million are sold.
//!
//! The sold ones are put into PostgreSQL by one statement; the settler then rebuilds the sale in
//! Redis from them, as it does for any node that remembers nothing.

use anyhow::ensure;
use stack::StackOptions;

use super::accepted::{self, ROUNDS, Run};
use crate::accounting;
use crate::lab::{Lab, PLENTY, url};
use crate::row::{Bound, Row};
use crate::system::{Claimed, System};
use crate::wrk::{self, Buyers};

/// Products on sale.
const PRODUCTS: u32 = 1000;
/// Requests in a thousand that go to any of them evenly; the others to the hot one.
const SPREAD: u32 = 200;
/// Units of the long sale.
const UNITS: i64 = 10_000_000;
/// Units of it that are sold before.
const SOLD: i64 = 2_000_000;
/// Connections of the buyers.
const CONNECTIONS: usize = 256;
/// An order may cost so much more late in the sale: the noise of two short runs.
const COST_MAX: f64 = 1.15;

/// A thousand products.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn products(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    lab.retire().await;
    let options = StackOptions { stock: PLENTY, ..StackOptions::default() };
    let mut system = System::start_with(options).await?;
    let insert = "INSERT INTO products (id, name, price_minor, currency, stock, total) \
                  SELECT n, 'bench', 1, 'THB', $2, $2 FROM generate_series(2, $1::bigint) AS n";
    system.sql.execute(insert, &[&i64::from(PRODUCTS), &PLENTY]).await?;
    let all: Vec<i64> = (1..=i64::from(PRODUCTS)).collect();
    for product in &all {
        system.wait_open(*product).await?;
    }
    let mut row = Row::new("products", format!("{PRODUCTS} products, one hot"));
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let (mut accepted, mut counted) = (0, 0);
    for _ in 0..ROUNDS {
        let first_user = lab.users();
        let alone = accepted::press(&mut system, 1, first_user, CONNECTIONS, lab.length).await?;
        one.push(alone.pace().accepted_per_second);
        let first_user = lab.users();
        let buyers = Buyers {
            first_user,
            product: 1,
            spread: SPREAD,
            products: PRODUCTS,
            ..Buyers::default()
        };
        let before = system.meter.read();
        let pressed = wrk::press(&url(&system.stack), CONNECTIONS, lab.length, &buyers).await?;
        let settled_after = system.wait_settled(&all).await?;
        let usage = system.meter.read().since(&before, pressed.requests);
        counted += pressed.requests;
        accounting::add(&mut row.usage, &usage, counted);
        accepted += pressed.accepted() + alone.pressed.accepted();
        many.push(Run { pressed, settled_after, usage });
    }
    let settled = many.iter().all(|run| run.settled_after.is_some());
    row.check("everything is settled", settled, format!("after each of {ROUNDS} rounds"));
    row.per_second = Some(accepted::mean(many.iter().map(|run| run.pace().accepted_per_second)));
    row.ceiling_per_second = Some(accepted::mean(one.into_iter()));
    accepted::add_latencies(&mut row, many.iter().map(|run| &run.pressed));
    let unseen = 2 * u64::from(ROUNDS) * CONNECTIONS as u64;
    system.check(&mut row, &all, Claimed { accepted, unseen }).await?;
    system.shutdown().await;
    Ok(vec![row])
}

/// A sale of ten million units, early and late.
///
/// # Errors
/// When something does not start or answer.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) async fn ten_million(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    lab.retire().await;
    let mut system = System::start(&[]).await?;
    let early = system.sell(UNITS).await?;
    let memory = used_memory(&mut system).await?;
    let late = sell_late(&mut system).await?;
    let bytes = (used_memory(&mut system).await? - memory) as f64 / SOLD as f64;
    let mut sides = [(early, 0, "early"), (late, SOLD, "2 million sold")]
        .map(|(product, sold, of)| Side::new(product, sold, of));
    for _ in 0..ROUNDS {
        for side in &mut sides {
            let first_user = lab.users();
            let run =
                accepted::press(&mut system, side.product, first_user, CONNECTIONS, lab.length);
            side.add(run.await?);
        }
    }
    let mut rows = Vec::new();
    for side in &sides {
        rows.push(side.row(&mut system).await?);
    }
    let [early, late] = sides.map(|side| side.cpu_seconds / side.accepted as f64);
    if let Some(row) = rows.last_mut() {
        row.goal("CPU an order, late over early", Bound::AtMost(COST_MAX), late / early);
        row.fact("bytes of Redis a buyer", bytes);
    }
    system.shutdown().await;
    Ok(rows)
}

/// One of two sales that take turns.
struct Side {
    product: i64,
    /// Units sold before.
    sold: i64,
    row: Row,
    runs: Vec<Run>,
    accepted: u64,
    /// Of the engine and its servers, without nginx and the load.
    cpu_seconds: f64,
}

impl Side {
    fn new(product: i64, sold: i64, of: &str) -> Self {
        let row = Row::new("ten-million", of);
        Self { product, sold, row, runs: Vec::new(), accepted: 0, cpu_seconds: 0.0 }
    }

    fn add(&mut self, run: Run) {
        self.accepted += run.pressed.accepted();
        let servers = ["edges", "redis", "rabbitmq", "postgres", "settler"];
        let of_servers = run.usage.iter().filter(|(group, _)| servers.contains(group));
        self.cpu_seconds += of_servers.map(|(_, usage)| usage.cpu_seconds).sum::<f64>();
        accounting::add(&mut self.row.usage, &run.usage, self.accepted);
        self.runs.push(run);
    }

    async fn row(&self, system: &mut System) -> anyhow::Result<Row> {
        let mut row = self.row.clone();
        let paces = self.runs.iter().map(|run| run.pace().accepted_per_second);
        row.per_second = Some(accepted::mean(paces));
        accepted::add_latencies(&mut row, self.runs.iter().map(|run| &run.pressed));
        let settled = self.runs.iter().all(|run| run.settled_after.is_some());
        row.check("everything is settled", settled, format!("after each of {ROUNDS} rounds"));
        let unseen = u64::from(ROUNDS) * CONNECTIONS as u64;
        let accepted = self.accepted + u64::try_from(self.sold)?;
        system.check(&mut row, &[self.product], Claimed { accepted, unseen }).await?;
        Ok(row)
    }
}

/// Puts a sale on sale of which millions are sold, with ids in the order of time as real ones have.
async fn sell_late(system: &mut System) -> anyhow::Result<i64> {
    let product = system.take_products(1);
    let transaction = system.sql.transaction().await?;
    let insert = "INSERT INTO products (id, name, price_minor, currency, stock, total, epoch) \
                  VALUES ($1, 'bench', 1, 'THB', $2, $3, 1)";
    transaction.execute(insert, &[&product, &(UNITS - SOLD), &UNITS]).await?;
    let insert = "INSERT INTO orders \
        (id, product_id, user_id, quantity, epoch, seq, status, reserved_at) \
        SELECT lpad(to_hex(n), 32, '0')::uuid, $1, n, 1, 1, n, 'confirmed', now() \
        FROM generate_series(1, $2::bigint) AS n";
    let inserted = transaction.execute(insert, &[&product, &SOLD]).await?;
    ensure!(i64::try_from(inserted) == Ok(SOLD), "{inserted} of {SOLD} orders inserted");
    transaction.commit().await?;
    // Not in the middle of the measurement.
    system.sql.batch_execute("VACUUM (ANALYZE) orders").await?;
    system.sql.batch_execute("CHECKPOINT").await?;
    system.wait_open(product).await?;
    Ok(product)
}

async fn used_memory(system: &mut System) -> anyhow::Result<i64> {
    let text: String = redis::cmd("INFO").arg("memory").query_async(&mut system.redis).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok())
        .ok_or_else(|| anyhow::anyhow!("redis does not say what it uses"))
}
