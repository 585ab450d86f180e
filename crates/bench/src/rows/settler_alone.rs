//! A settler and a queue of 500,000 orders, against a bare insert of the same rows into the same
//! table, in batches of the same size, over one connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use domain::contract::order_message::{self, OrderBatch, QueuedOrder};
use domain::contract::topology;
use domain::{Epoch, ProductId, Quantity, ReservationId, Seq, UserId};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use stack::StackOptions;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::accounting;
use crate::lab::Lab;
use crate::row::{Bound, Row};
use crate::system::{Claimed, System, connect};

/// Orders in the queue.
const ORDERS: i64 = 500_000;
/// Orders a message: what edges write under load.
const ORDERS_PER_MESSAGE: i64 = 50;
/// Orders a transaction: the settler's default.
const BATCH: usize = 2000;
/// Unconfirmed messages at most.
const UNCONFIRMED_MAX: usize = 512;
/// Longest time to settle everything.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// The demo product.
const PRODUCT: i64 = 1;

const BARE: &str = "INSERT INTO orders \
    (id, product_id, user_id, quantity, epoch, seq, status, reserved_at) \
    SELECT o.id, 1, o.user_id, 1, 1, o.seq, 'confirmed', now() \
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS o (id, user_id, seq)";

/// Measures bare, settler, bare.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    lab.retire().await;
    let options = StackOptions {
        edges: 0,
        stock: 2 * ORDERS,
        env: vec![
            // The reconciler would miss these orders in Redis, rightly: no edge reserved them.
            ("SETTLER_RECONCILE_MS".to_owned(), "3600000".to_owned()),
            ("SETTLER_BATCH_MAX".to_owned(), BATCH.to_string()),
        ],
        ..StackOptions::default()
    };
    let mut system = System::start_with(options).await?;
    system.stack.stop("settler-1").await?;
    let mut row = Row::new("settler-alone", format!("{ORDERS} orders queued"));
    row.unit = "orders";
    let orders = make_orders()?;
    let mut bare = vec![insert_bare(&system, &orders, &mut row).await?];
    truncate(&system).await?;
    fill_queue(&system, &orders).await?;
    let before = system.meter.read();
    system.stack.resume("settler-1").await?;
    system.meter = accounting::Meter::of(&system.stack);
    row.per_second = Some(wait_all_settled(&system).await?);
    system.meter = accounting::Meter::of(&system.stack);
    row.usage = system.meter.read().since(&before, u64::try_from(ORDERS)?);
    let claimed = Claimed { accepted: u64::try_from(ORDERS)?, unseen: 0 };
    system.check_books(&mut row, &[PRODUCT], claimed).await?;
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.0).collect();
    let missing = system.count_missing(&ids).await?;
    row.check("every queued order is confirmed", missing == 0, format!("{missing} missing"));
    system.stack.stop("settler-1").await?;
    truncate(&system).await?;
    bare.push(insert_bare(&system, &orders, &mut row).await?);
    row.ceiling_per_second = Some(super::accepted::mean(bare.into_iter()));
    row.goal("of a bare insert", Bound::AtLeast(0.7), row.ratio().unwrap_or(f64::NAN));
    let rate = row.per_second.unwrap_or(f64::NAN);
    row.goal("orders/s", Bound::AtLeast(40_000.0), rate);
    system.shutdown().await;
    Ok(vec![row])
}

fn make_orders() -> anyhow::Result<Vec<QueuedOrder>> {
    let order = |number: i64| {
        Ok(QueuedOrder {
            id: ReservationId(Uuid::now_v7()),
            user: UserId::new(number).context("a user id")?,
            quantity: Quantity::ONE,
            seq: Seq(number),
            key: None,
        })
    };
    (1..=ORDERS).map(order).collect()
}

async fn truncate(system: &System) -> anyhow::Result<()> {
    Ok(system.sql.batch_execute("TRUNCATE orders; CHECKPOINT").await?)
}

/// Rows a second.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn insert_bare(
    system: &System,
    orders: &[QueuedOrder],
    row: &mut Row,
) -> anyhow::Result<f64> {
    let client: Client = connect(&system.stack).await?;
    let statement = client.prepare(BARE).await?;
    let columns: Vec<(Vec<Uuid>, Vec<i64>, Vec<i64>)> = orders
        .chunks(BATCH)
        .map(|batch| {
            (
                batch.iter().map(|order| order.id.0).collect(),
                batch.iter().map(|order| order.user.get()).collect(),
                batch.iter().map(|order| order.seq.0).collect(),
            )
        })
        .collect();
    let (started, before) = (Instant::now(), system.meter.read());
    for (ids, users, seqs) in &columns {
        client.execute(&statement, &[ids, users, seqs]).await?;
    }
    let elapsed = started.elapsed();
    let inserted = u64::try_from(orders.len())?;
    row.ceiling_cost(&system.meter.read().since(&before, inserted), inserted);
    Ok(orders.len() as f64 / elapsed.as_secs_f64())
}

/// Publishes every order as an edge does: in micro-batches, confirmed.
async fn fill_queue(system: &System, orders: &[QueuedOrder]) -> anyhow::Result<()> {
    let query = "SELECT epoch FROM products WHERE id = $1";
    let epoch: i64 = system.sql.query_one(query, &[&PRODUCT]).await?.get(0);
    ensure!(epoch > 0, "nobody vouched for the sale");
    let connection =
        Connection::connect(system.stack.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut confirms = VecDeque::new();
    for chunk in orders.chunks(usize::try_from(ORDERS_PER_MESSAGE)?) {
        let batch = OrderBatch {
            outbox_id: "1-0".to_owned(),
            product: ProductId::new(PRODUCT).context("a product id")?,
            epoch: Epoch(epoch),
            reserved_at_ms: 1_700_000_000_000,
            orders: chunk.to_vec(),
        };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(ShortString::from(Uuid::now_v7().to_string()));
        let confirm = channel
            .basic_publish(
                ShortString::from(topology::EXCHANGE),
                ShortString::from(topology::ROUTING_KEY),
                BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
                &order_message::encode([&batch]),
                properties,
            )
            .await?;
        confirms.push_back(confirm);
        if confirms.len() >= UNCONFIRMED_MAX {
            accept(confirms.pop_front()).await?;
        }
    }
    while !confirms.is_empty() {
        accept(confirms.pop_front()).await?;
    }
    Ok(())
}

async fn accept(confirm: Option<lapin::PublisherConfirm>) -> anyhow::Result<()> {
    if let Some(confirm) = confirm {
        let confirmation = confirm.await?;
        ensure!(matches!(confirmation, Confirmation::Ack(None)), "not taken: {confirmation:?}");
    }
    Ok(())
}

/// Orders a second, from the first transaction that was seen to the last order.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn wait_all_settled(system: &System) -> anyhow::Result<f64> {
    let deadline = Instant::now() + SETTLE_MAX;
    let query = "SELECT total - stock FROM products WHERE id = $1";
    let mut first: Option<(i64, Instant)> = None;
    loop {
        let settled: i64 = system.sql.query_one(query, &[&PRODUCT]).await?.get(0);
        let now = Instant::now();
        match first {
            None if settled > 0 => first = Some((settled, now)),
            Some((before, since)) if settled >= ORDERS => {
                return Ok((ORDERS - before) as f64 / (now - since).as_secs_f64());
            }
            _ => {}
        }
        ensure!(now < deadline, "{settled} of {ORDERS} settled in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
