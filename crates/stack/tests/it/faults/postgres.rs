//! PostgreSQL away, or busy: buyers are accepted, settlers wait without a fuss.

use std::time::{Duration, Instant};

use stack::{Stack, StackOptions};

use super::{NO_SWEEPER, accepted, env, logged, wait_quiet, wait_settled};
use crate::buyer::Ledger;
use crate::crowd::Crowd;

/// The failure model says 60 s; nothing happens in the later ones that did not in the first, as
/// every timeout and backoff involved is shorter.
const AWAY: Duration = Duration::from_secs(20);
/// How long another session locks the product: four statement timeouts.
const LOCKED: Duration = Duration::from_secs(20);
/// Tries of one batch meanwhile: the backoff grows to 2 s, or a statement waits 5 s.
const TRIES_MAX: usize = 40;
/// Nobody waits for PostgreSQL; the rest is for a machine whose disk is busy.
const SILENCE_MAX: Duration = Duration::from_secs(5);

async fn selling() -> (Stack, Ledger) {
    let env = env(&[NO_SWEEPER]);
    let options = StackOptions { edges: 2, stock: 1_000_000, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    (stack, ledger)
}

/// F13: PostgreSQL is away in the middle of a sale. Buyers do not notice; everything is settled
/// within 30 s of its return. (What happens when queue and outbox are full stands in `broker`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_goes_on_without_postgresql_and_is_settled_when_it_returns() {
    let (stack, _) = selling().await;
    let crowd = Crowd::gentle(stack.http());
    crowd.accepts(100).await;
    stack.stop("postgres").await.unwrap();
    let silence = crowd.longest_silence(AWAY).await;
    let tries = logged(&stack, "settler-1", "not settled; trying again");
    stack.resume("postgres").await.unwrap();
    stack.wait_ready().await.unwrap();
    crowd.accepts(100).await;
    let told = crowd.go_home().await;
    assert!(silence < SILENCE_MAX, "nobody was accepted for {silence:?}");
    assert!((2..TRIES_MAX).contains(&tries), "a batch was tried {tries} times");
    let ledger = Ledger::open(&stack).await;
    assert_eq!(told.check(&ledger).await, 0, "I7");
    assert!(told.unknown.is_empty() && told.turned_away.is_empty(), "{:?}", told.turned_away);
    wait_quiet(&stack, &ledger).await;
    let queues = ["list_queues", "--silent", "name", "arguments"];
    let queues = stack.rabbitmqctl(&queues).await.unwrap();
    assert!(queues.contains("\"x-max-length\",100000"), "the queue has no bound: {queues}");
    stack.shutdown().await;
}

/// F14: another session locks the product for 20 s. Statements time out and are tried again, not in
/// a hot loop; nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_that_stays_locked_is_waited_for_without_a_hot_loop() {
    let (stack, ledger) = selling().await;
    let mut ids = accepted(stack.http(), 1..=10).await;
    wait_settled(&ledger, &ids).await;
    let other = Ledger::open(&stack).await;
    other.execute("BEGIN; SELECT 1 FROM products WHERE id = 1 FOR UPDATE").await;
    let started = Instant::now();
    ids.extend(accepted(stack.http(), 11..=30).await);
    tokio::time::sleep(LOCKED.saturating_sub(started.elapsed())).await;
    assert_eq!(ledger.orders().await.len(), 10, "nobody settles what is locked");
    let tries = logged(&stack, "settler-1", "not settled; trying again");
    other.execute("ROLLBACK").await;
    assert!((2..TRIES_MAX).contains(&tries), "a batch was tried {tries} times");
    wait_settled(&ledger, &ids).await;
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), 30, "each once");
    stack.shutdown().await;
}
