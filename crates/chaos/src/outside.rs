//! What the stores say, read from outside: plain queries, no code of the programs that wrote it.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use stack::Stack;
use tokio::process::Command;
use tokio_postgres::NoTls;

use crate::judge::{Order, Stores};

/// How long everything may take to be settled after the last fault.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(60);

/// Waits until everything is settled, and reads it. What never settles is in the figures.
pub(crate) async fn read(stack: &Stack) -> anyhow::Result<Stores> {
    let reconciled = reconcile(stack).await?;
    let (client, connection) = tokio_postgres::connect(stack.database_url(), NoTls).await?;
    tokio::spawn(connection);
    let product = client.query_one("SELECT total, stock FROM products WHERE id = 1", &[]).await?;
    let all = "SELECT id::text, user_id, quantity, status FROM orders WHERE product_id = 1";
    let rows = client.query(all, &[]).await?;
    let order = |row: &tokio_postgres::Row| {
        let user = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
        let confirmed = row.get::<_, &str>(3) == "confirmed";
        (row.get(0), Order { user, quantity: row.get(2), confirmed })
    };
    let orders: HashMap<String, Order> = rows.iter().map(order).collect();

    let broker = Connection::connect(stack.amqp_url(), ConnectionProperties::default()).await?;
    let channel = broker.create_channel().await?;
    let depth = async |queue: &str| {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(ShortString::from(queue), options, FieldTable::default());
        asked.await.map(|queue| i64::from(queue.message_count()))
    };
    let (queue, dead) = (depth("orders").await?, depth("orders.dead").await?);
    Ok(Stores {
        total: product.get(0),
        stock: product.get(1),
        orders,
        available: available(stack).await?.context("the sale is not in Redis")?,
        outbox: outbox(stack).await?,
        queue,
        dead,
        reconciled,
    })
}

/// Entries of the outbox.
pub(crate) async fn outbox(stack: &Stack) -> anyhow::Result<i64> {
    let client = redis::Client::open(stack.redis_url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("XLEN").arg("outbox:{1}").query_async(&mut redis).await?)
}

/// Units Redis can still reserve; `None` while the sale is not loaded.
pub(crate) async fn available(stack: &Stack) -> anyhow::Result<Option<i64>> {
    let client = redis::Client::open(stack.redis_url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("HGET").arg("sale:{1}").arg("available").query_async(&mut redis).await?)
}

/// Whether `settler reconcile` is content once all is quiet.
async fn reconcile(stack: &Stack) -> anyhow::Result<bool> {
    let settler = std::env::current_exe()?.with_file_name("settler");
    let status = Command::new(settler)
        .args(["reconcile", "--wait-ms", &QUIET_MAX.as_millis().to_string()])
        .env("REDIS_URL", stack.redis_url())
        .env("AMQP_URL", stack.amqp_url())
        .env("DATABASE_URL", stack.database_url())
        .stdout(Stdio::inherit())
        .status()
        .await
        .context("running settler reconcile")?;
    Ok(status.success())
}
