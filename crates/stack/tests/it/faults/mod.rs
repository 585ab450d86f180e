//! The failure model, row by row: each test's comment names its rows (ARCHITECTURE.md, "Faults").
//!
//! Owns what the rows share: arming kill points, asking Redis, waiting for quiet.

mod broker;
mod clock;
mod double;
mod edge;
mod failover;
mod feed;
mod holds;
#[cfg(feature = "kill-points")]
mod kill_points;
mod one_user;
mod overload;
mod postgres;
mod redis;
mod rolling;
mod settler;
mod shop;

use ::redis::aio::MultiplexedConnection;
use stack::Stack;

use crate::buyer::{Ledger, buy, get};
use crate::wait::wait_until;

/// The reconciler looks so rarely that the sweeper cannot help out.
const NO_SWEEPER: (&str, &str) = ("SETTLER_RECONCILE_MS", "3600000");
/// Outbox entries never grow so old that the relay publishes them.
const NO_RELAY: (&str, &str) = ("SETTLER_RELAY_AGE_MS", "3600000");

/// Environment as a stack takes it.
fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn redis(stack: &Stack) -> MultiplexedConnection {
    let client = ::redis::Client::open(stack.redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A field of the sale, as a number.
async fn sale_field(redis: &MultiplexedConnection, field: &str) -> Option<i64> {
    let mut redis = redis.clone();
    let mut get = ::redis::cmd("HGET");
    get.arg("sale:{1}").arg(field).query_async(&mut redis).await.unwrap()
}

/// Micro-batches that wait for the broker's confirm.
async fn outbox_length(redis: &MultiplexedConnection) -> usize {
    let mut redis = redis.clone();
    ::redis::cmd("XLEN").arg("outbox:{1}").query_async(&mut redis).await.unwrap()
}

/// The reservation a user holds in Redis.
async fn reservation(redis: &MultiplexedConnection, user: u64) -> Option<String> {
    let mut redis = redis.clone();
    let mut get = ::redis::cmd("HGET");
    let holder: Option<String> =
        get.arg("buyers:{1}").arg(user).query_async(&mut redis).await.unwrap();
    holder.map(|holder| holder.split('|').next().unwrap_or_default().to_owned())
}

/// Presses of these users, each of which must be accepted; their reservation ids.
async fn accepted(http: &str, users: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let mut ids = Vec::new();
    for user in users {
        let answer = buy(http, user).await.unwrap();
        assert_eq!(answer.status, 202, "user {user}: {answer:?}");
        ids.push(answer.text("reservation_id").to_owned());
    }
    ids
}

async fn wait_settled(ledger: &Ledger, ids: &[String]) {
    wait_until("every 202 is confirmed", || async {
        let orders = ledger.orders().await;
        ids.iter().all(|id| orders.get(id).is_some_and(|status| status == "confirmed"))
    })
    .await;
}

/// I4 and I8: within 30 s nothing waits, and Redis can reserve exactly what PostgreSQL holds, which
/// it cannot while a reservation is stranded.
async fn wait_quiet(servers: &Stack, ledger: &Ledger) {
    let redis = redis(servers).await;
    wait_until("the outbox is empty and Redis agrees with PostgreSQL", || async {
        let stock = ledger.number("SELECT stock FROM products WHERE id = 1").await;
        outbox_length(&redis).await == 0 && sale_field(&redis, "available").await == Some(stock)
    })
    .await;
    ledger.assert_adds_up().await;
}

/// A number from `/metrics`; 0 while it is not there.
async fn metric(base: &str, name: &str) -> f64 {
    let text = get(base, "/metrics").await.unwrap().body;
    let line = text.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Lines of a process's log that contain `text`.
fn logged(stack: &Stack, process: &str, text: &str) -> usize {
    let log = std::fs::read_to_string(stack.dir().join(format!("logs/{process}.log"))).unwrap();
    log.lines().filter(|line| line.contains(text)).count()
}
