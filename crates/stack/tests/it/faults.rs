//! Faults that leave every process alive: a queue that is deleted, a binding that is gone, a broker
//! that stays away, a Redis that forgets. Numbers as in ARCHITECTURE.md, "Faults".

use std::time::{Duration, Instant};

use lapin::options::QueueDeleteOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy};
use crate::wait::wait_until;

const QUEUE: &str = "orders";

async fn channel(stack: &Stack) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(stack.amqp_url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn redis(stack: &Stack) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(stack.redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Presses of these users, each of which must be accepted.
async fn accepted(stack: &Stack, users: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let mut ids = Vec::new();
    for user in users {
        let answer = buy(stack.http(), user).await.unwrap();
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

/// F6: the queue is deleted with its backlog, which the broker had confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_loses_nothing() {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "500".to_owned())];
    let options = StackOptions { edges: 2, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("settler-1").await.unwrap();
    let mut ids = accepted(&stack, 1..=40).await;
    let redis = redis(&stack).await;
    wait_until("the broker has everything", || async {
        let mut redis = redis.clone();
        let depth: i64 =
            redis::cmd("XLEN").arg("outbox:{1}").query_async(&mut redis).await.unwrap();
        depth == 0
    })
    .await;
    let (_connection, channel) = channel(&stack).await;
    let backlog = channel
        .queue_delete(ShortString::from(QUEUE), QueueDeleteOptions::default())
        .await
        .unwrap();
    assert!(backlog > 0, "the backlog was in the queue and nowhere else");
    assert_eq!(ledger.orders().await.len(), 0);

    // The sale goes on: an unroutable publish is not taken for confirmed, the topology returns.
    ids.extend(accepted(&stack, 41..=50).await);
    stack.resume("settler-1").await.unwrap();
    wait_settled(&ledger, &ids).await;
    ledger.assert_adds_up().await;
    assert_eq!(ledger.orders().await.len(), 50, "each once");
    let log = std::fs::read_to_string(stack.dir().join("logs/settler-1.log")).unwrap();
    assert!(log.contains("published reservations again that no queue held"), "{log}");
    stack.shutdown().await;
}

/// F6: the binding is gone; whatever is published is returned, and confirmed nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_binding_loses_nothing() {
    let stack = Stack::start(StackOptions { edges: 1, ..StackOptions::default() }).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let mut ids = accepted(&stack, 1..=5).await;
    let (_connection, channel) = channel(&stack).await;
    let [queue, exchange, key] = [QUEUE; 3].map(ShortString::from);
    channel.queue_unbind(queue, exchange, key, FieldTable::default()).await.unwrap();
    ids.extend(accepted(&stack, 6..=15).await);
    wait_settled(&ledger, &ids).await;
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

/// F5, F8: the broker stays away. Buyers are accepted without waiting until the outbox is full,
/// then turned away before anything is reserved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_buyers_are_accepted_up_to_the_bound_and_shed_before_reserving() {
    const BOUND: usize = 60;
    let env = vec![("EDGE_OUTBOX_MAX".to_owned(), BOUND.to_string())];
    let options = StackOptions { edges: 1, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("rabbitmq").await.unwrap();
    wait_until("the edge knows", || async {
        let started = Instant::now();
        let known = crate::buyer::get(&stack.url("edge-1").unwrap(), "/readyz").await.unwrap();
        known.status == 503 && started.elapsed() < Duration::from_secs(1)
    })
    .await;
    let mut ids = Vec::new();
    let mut shed = Vec::new();
    // One after the other, so that each is a batch of its own.
    for user in 1..=100 {
        let answer = buy(stack.http(), user).await.unwrap();
        match (answer.status.as_u16(), answer.text("code")) {
            (202, _) => ids.push(answer.text("reservation_id").to_owned()),
            (503, "UNAVAILABLE") => {
                assert!(answer.headers.contains_key("retry-after"));
                shed.push(user);
            }
            other => panic!("user {user}: {other:?}"),
        }
    }
    assert_eq!((ids.len(), shed.len()), (BOUND, 100 - BOUND));
    let mut redis = redis(&stack).await;
    for user in &shed {
        let reserved: bool = redis::cmd("HEXISTS")
            .arg("buyers:{1}")
            .arg(user)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(!reserved, "user {user} was turned away and holds a reservation");
    }
    stack.resume("rabbitmq").await.unwrap();
    wait_settled(&ledger, &ids).await;
    wait_until("the sale goes on", || async {
        buy(stack.http(), shed[0]).await.unwrap().status == 202
    })
    .await;
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}
