//! What the tests share: servers, a migrated database, orders, and waiting for a condition.
//!
//! Invariant: nothing here sleeps a fixed time; every wait has a condition and a deadline.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId};
use service::redis_pool::{RedisPool, RedisPoolSettings};
use settler::commands;
use settler::settings::MigrateSettings;
use stack::{Server, Stack, StackOptions};

/// How long a condition may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The product every test sells.
pub(crate) fn product() -> ProductId {
    ProductId::new(1).unwrap()
}

/// Servers with a migrated database; they stop when this is dropped.
pub(crate) struct Servers {
    pub(crate) stack: Stack,
    pub(crate) pool: Pool,
}

impl Servers {
    /// Starts these servers, PostgreSQL among them, and migrates.
    pub(crate) async fn start(servers: &[Server]) -> Self {
        let stack = Stack::start(StackOptions::servers(servers)).await.unwrap();
        let database_url = stack.database_url().to_owned();
        commands::migrate(&MigrateSettings { database_url: database_url.clone() }).await.unwrap();
        // More than there are tasks in any test: whoever waits for one gives up after 2 s.
        let pool = service::postgres::pool(&database_url, "test", 64, "").unwrap();
        Self { stack, pool }
    }

    /// Puts a product on sale in PostgreSQL.
    pub(crate) async fn sell(&self, stock: i64, epoch: i64) {
        let insert = "INSERT INTO products (id, name, price_minor, currency, stock, total, epoch) \
                      VALUES (1, 'iPhone 15 Pro', 4190000, 'THB', $1, $1, $2)";
        self.pool.get().await.unwrap().execute(insert, &[&stock, &epoch]).await.unwrap();
    }

    /// A pool to the Redis of these servers.
    pub(crate) fn redis(&self) -> RedisPool {
        let settings = RedisPoolSettings {
            url: self.stack.redis_url().to_owned(),
            connections_max: 4,
            response_timeout: DEADLINE,
        };
        RedisPool::connect(&settings, &[]).unwrap()
    }

    /// One number from PostgreSQL.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.pool.get().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
    }

    /// I1: total = stock + units of orders that hold units; I2: stock is not negative.
    pub(crate) async fn assert_ledger_adds_up(&self) {
        let drift = "SELECT max(abs(p.total - p.stock - coalesce((SELECT sum(quantity) FROM orders \
                     WHERE product_id = p.id AND status IN ('confirmed', 'held', 'paid')), \
                     0)::bigint)) FROM products p";
        assert_eq!(self.number(drift).await, 0, "I1: units appeared or vanished");
        assert!(self.number("SELECT min(stock) FROM products").await >= 0, "I2");
    }
}

/// A reservation id that tests can tell apart.
pub(crate) fn id(number: u128) -> ReservationId {
    ReservationId(uuid::Uuid::from_u128(number))
}

/// An order of one unit.
pub(crate) fn order(number: u128, user: i64, seq: i64) -> QueuedOrder {
    QueuedOrder {
        id: id(number),
        user: UserId::new(user).unwrap(),
        quantity: Quantity::ONE,
        seq: Seq(seq),
        key: None,
    }
}

/// The same order, made under an idempotency key.
pub(crate) fn keyed(order: QueuedOrder) -> QueuedOrder {
    QueuedOrder { key: Some(IdempotencyKey::from_hash(*b"a key of")), ..order }
}

/// A micro-batch of the product every test sells.
pub(crate) fn batch(epoch: i64, orders: &[QueuedOrder]) -> OrderBatch {
    OrderBatch {
        outbox_id: String::new(),
        product: product(),
        epoch: Epoch(epoch),
        reserved_at_ms: 1_700_000_000_000,
        orders: orders.to_vec(),
    }
}

/// Waits until `condition` holds; panics with `what` at the deadline.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
