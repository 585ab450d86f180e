//! A whole system to measure: products put on sale, and what its stores say afterwards, read from
//! outside.
//!
//! Every measurement sells products of its own, so that what one left behind is in nobody else's
//! figures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use stack::{Stack, StackOptions};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::accounting::Meter;
use crate::http;
use crate::row::Row;

/// How long a new product may take to be on sale everywhere; edges read the catalogue every second.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// Longest wait for everything to be settled.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// The goal for it.
pub(crate) const SETTLED_GOAL: Duration = Duration::from_secs(2);
/// How long PostgreSQL may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// How often the stores are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What buyers were told of some products, counted outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed {
    /// 202s that arrived.
    pub(crate) accepted: u64,
    /// Requests whose answer nobody saw; each may have bought.
    pub(crate) unseen: u64,
}

/// A running system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) stack: Stack,
    pub(crate) sql: Client,
    pub(crate) redis: MultiplexedConnection,
    pub(crate) meter: Meter,
    next_product: i64,
}

impl System {
    /// Starts a stack, with more environment for its programs.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) async fn start(env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::start_with(StackOptions { env: env.collect(), ..StackOptions::default() }).await
    }

    /// Starts this very stack.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) async fn start_with(options: StackOptions) -> anyhow::Result<Self> {
        let stack = Stack::start(options).await?;
        let sql = connect(&stack).await?;
        let client = redis::Client::open(stack.redis_url())?;
        let redis = client.get_multiplexed_async_connection().await?;
        let meter = Meter::of(&stack);
        Ok(Self { stack, sql, redis, meter, next_product: 2 })
    }

    /// Where nginx listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        http::address_of(self.stack.http())
    }

    /// Puts a product on sale and waits until every edge sells it.
    pub(crate) async fn sell(&mut self, units: i64) -> anyhow::Result<i64> {
        let product = self.next_product;
        self.next_product += 1;
        let insert = "INSERT INTO products (id, name, price_minor, currency, stock, total) \
                      VALUES ($1, 'bench', 1, 'THB', $2, $2)";
        self.sql.execute(insert, &[&product, &units]).await?;
        self.wait_open(product).await?;
        Ok(product)
    }

    /// Numbers for products a caller puts on sale itself.
    pub(crate) fn take_products(&mut self, count: i64) -> i64 {
        let first = self.next_product;
        self.next_product += count;
        first
    }

    /// Waits until every edge sells the product.
    pub(crate) async fn wait_open(&self, product: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + OPEN_MAX;
        for edge in self.edges()? {
            loop {
                if is_open(edge, product).await {
                    break;
                }
                if Instant::now() > deadline {
                    bail!("product {product} is not on sale at {edge}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    pub(crate) fn edges(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let edges = self.stack.status().processes.into_iter();
        let edges = edges.filter(|process| process.name.starts_with("edge-"));
        edges.map(|process| http::address_of(&process.url)).collect()
    }

    /// Waits until what Redis sold is what PostgreSQL recorded and nothing waits in between; how
    /// long that took, or `None` when it takes too long.
    pub(crate) async fn wait_settled(
        &mut self,
        products: &[i64],
    ) -> anyhow::Result<Option<Duration>> {
        let started = Instant::now();
        let mut quiet: Option<(i64, Duration)> = None;
        while started.elapsed() < SETTLED_MAX {
            let (available, outbox) = self.in_redis(products).await?;
            let query = "SELECT coalesce(sum(stock), 0)::bigint FROM products WHERE id = ANY($1)";
            let stock: i64 = self.sql.query_one(query, &[&products]).await?.get(0);
            let now = started.elapsed();
            quiet = match quiet {
                _ if stock != available || outbox > 0 => None,
                // Requests may still be on their way to Redis: it must stay so for a moment.
                Some((before, since)) if before == available => {
                    if now - since > LOOK_EVERY * 5 {
                        return Ok(Some(since));
                    }
                    Some((before, since))
                }
                _ => Some((available, now)),
            };
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    /// Units Redis can still sell, and outbox entries, over these products.
    async fn in_redis(&mut self, products: &[i64]) -> anyhow::Result<(i64, i64)> {
        let mut pipe = redis::pipe();
        for product in products {
            pipe.cmd("HGET").arg(format!("sale:{{{product}}}")).arg("available");
            pipe.cmd("XLEN").arg(format!("outbox:{{{product}}}"));
        }
        let numbers: Vec<Option<i64>> = pipe.query_async(&mut self.redis).await?;
        let sum = |skip| numbers.iter().skip(skip).step_by(2).flatten().sum();
        Ok((sum(0), sum(1)))
    }

    /// Checks every invariant of these products against what buyers were told.
    pub(crate) async fn check(
        &mut self,
        row: &mut Row,
        products: &[i64],
        claimed: Claimed,
    ) -> anyhow::Result<()> {
        let stock = self.check_books(row, products, claimed).await?;
        let (available, outbox) = self.in_redis(products).await?;
        let apart = stock - available;
        row.check(
            "Redis agrees",
            apart == 0 && outbox == 0,
            format!("{apart} units apart, {outbox} in the outbox"),
        );
        Ok(())
    }

    /// Checks what PostgreSQL alone can tell; its stock.
    pub(crate) async fn check_books(
        &self,
        row: &mut Row,
        products: &[i64],
        claimed: Claimed,
    ) -> anyhow::Result<i64> {
        let books = self.read_books(products).await?;
        books.judge(row, claimed);
        Ok(books.stock)
    }

    async fn read_books(&self, products: &[i64]) -> anyhow::Result<Books> {
        let query = "SELECT coalesce(sum(p.total), 0)::bigint, coalesce(sum(p.stock), 0)::bigint, \
            min(p.stock), (SELECT count(*) FROM orders WHERE product_id = ANY($1)), \
            (SELECT coalesce(sum(quantity), 0)::bigint FROM orders \
              WHERE product_id = ANY($1) AND status IN ('confirmed', 'held', 'paid')), \
            (SELECT count(*) FROM orders WHERE product_id = ANY($1) AND status = 'rejected'), \
            (SELECT count(*) FROM (SELECT 1 FROM orders WHERE product_id = ANY($1) \
              GROUP BY product_id, user_id HAVING count(*) > 1) AS d) \
            FROM products AS p WHERE p.id = ANY($1)";
        let row = self.sql.query_one(query, &[&products]).await?;
        Ok(Books {
            total: row.get(0),
            stock: row.get(1),
            lowest: row.get(2),
            orders: row.get(3),
            held_units: row.get(4),
            rejected: row.get(5),
            doubled: row.get(6),
        })
    }

    /// How many of these reservations have no confirmed order.
    pub(crate) async fn count_missing(&self, reservations: &[Uuid]) -> anyhow::Result<i64> {
        let query = "SELECT count(*) FROM unnest($1::uuid[]) AS r (id) LEFT JOIN orders AS o \
                     ON o.id = r.id AND o.status = 'confirmed' WHERE o.id IS NULL";
        Ok(self.sql.query_one(query, &[&reservations]).await?.get(0))
    }

    /// Stops everything.
    pub(crate) async fn shutdown(self) {
        self.stack.shutdown().await;
    }
}

/// What PostgreSQL says of some products.
#[derive(Debug, Clone, Copy, Default)]
struct Books {
    total: i64,
    stock: i64,
    lowest: i64,
    orders: i64,
    held_units: i64,
    rejected: i64,
    doubled: i64,
}

impl Books {
    /// Every order is for one unit, so orders and units can be compared.
    fn judge(&self, row: &mut Row, claimed: Claimed) {
        let (accepted, unseen) = (i64::try_from(claimed.accepted), i64::try_from(claimed.unseen));
        let (accepted, unseen) = (accepted.unwrap_or(i64::MAX), unseen.unwrap_or(i64::MAX));
        let confirmed = self.orders - self.rejected;
        row.check(
            "every 202 has one order",
            confirmed >= accepted && confirmed - accepted <= unseen,
            format!("{accepted} accepted, {confirmed} confirmed, {unseen} answers unseen"),
        );
        let drift = self.total - self.stock - self.held_units;
        row.check("stock is right", drift == 0, format!("{drift} units adrift of {}", self.total));
        row.check("never negative", self.lowest >= 0, format!("lowest stock {}", self.lowest));
        row.check("nobody has two", self.doubled == 0, format!("{} users doubled", self.doubled));
        let figures = format!("{} rejected after a 202", self.rejected);
        row.check("nobody is rejected", self.rejected == 0, figures);
    }
}

async fn is_open(edge: SocketAddr, product: i64) -> bool {
    let Ok(answer) = http::get(edge, &format!("/api/products/{product}")).await else {
        return false;
    };
    let Ok(view) = serde_json::from_slice::<Value>(&answer.body) else { return false };
    answer.status == 200 && view["epoch"].as_i64() > Some(0)
}

/// A connection to PostgreSQL, which may still be starting.
pub(crate) async fn connect(stack: &Stack) -> anyhow::Result<Client> {
    let deadline = Instant::now() + CONNECT_MAX;
    loop {
        match tokio_postgres::connect(stack.database_url(), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) if Instant::now() > deadline => return Err(error).context("PostgreSQL"),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(books: Books, accepted: u64, unseen: u64) -> Vec<String> {
        let mut row = Row::new("accepted", "");
        books.judge(&mut row, Claimed { accepted, unseen });
        row.checks.into_iter().filter(|check| !check.holds).map(|check| check.what).collect()
    }

    #[test]
    fn only_books_that_add_up_and_match_what_was_told_pass() {
        let good =
            Books { total: 5, stock: 3, lowest: 3, orders: 2, held_units: 2, ..Books::default() };
        assert_eq!(broken(good, 2, 0), [""; 0]);
        assert_eq!(broken(good, 1, 1), [""; 0], "an answer nobody saw");
        assert_eq!(broken(good, 3, 5), ["every 202 has one order"], "lost");
        assert_eq!(broken(good, 1, 0), ["every 202 has one order"], "invented");
        assert_eq!(broken(Books { stock: 4, ..good }, 2, 0), ["stock is right"]);
        assert_eq!(broken(Books { lowest: -1, ..good }, 2, 0), ["never negative"]);
        assert_eq!(broken(Books { doubled: 1, ..good }, 2, 0), ["nobody has two"]);
        let rejected = Books { orders: 3, rejected: 1, ..good };
        assert_eq!(broken(rejected, 2, 0), ["nobody is rejected"]);
    }
}
