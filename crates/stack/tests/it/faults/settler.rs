//! Settlers that stand still.

use std::time::{Duration, Instant};

use stack::{Stack, StackOptions};

use super::{accepted, wait_quiet, wait_settled};
use crate::buyer::{Ledger, buy};
use crate::wait::{wait_running, wait_until};

/// A frozen transaction ends after 2 s, a waiting one is tried again after 5; the rest is for a
/// busy machine.
const LOCK_HELD_MAX: Duration = Duration::from_secs(2 + 5 + 5);
/// Buyers who come while a settler is frozen: every other message goes to the other settler.
const LATER: u64 = 20;

/// F20: a settler is frozen within its transaction, the product locked. It loses the lock, another
/// settles on, and when it thaws nothing is settled twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_frozen_with_the_product_locked_loses_its_lock() {
    let stack = Stack::start(StackOptions { edges: 1, settlers: 2, ..StackOptions::default() });
    let stack = stack.await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("settler-2").await.unwrap();

    // The insert waits for this lock, and holds the product's meanwhile.
    let blocker = Ledger::open(&stack).await;
    blocker.execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await;
    let mut ids = accepted(stack.http(), 1..=1).await;
    wait_until("the settler is within its transaction", || async {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'settler' \
                       AND wait_event_type = 'Lock' AND query ~ 'INSERT INTO orders'";
        ledger.count(waiting).await == 1
    })
    .await;
    stack.kill("settler-1", "STOP").await.unwrap();
    blocker.execute("ROLLBACK").await;
    wait_until("the transaction is idle", || async {
        let idle = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'settler' \
                    AND state = 'idle in transaction'";
        ledger.count(idle).await == 1
    })
    .await;

    stack.resume("settler-2").await.unwrap();
    // Whoever does not consume yet is sent nothing.
    wait_running(&stack, "settler-2").await;
    let frozen = Instant::now();
    let before = ledger.orders().await.len();
    for user in 2..2 + LATER {
        let answer = buy(stack.http(), user).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        ids.push(answer.text("reservation_id").to_owned());
    }
    wait_until("the other settles on", || async { ledger.orders().await.len() > before }).await;
    let took = frozen.elapsed();
    assert!(took < LOCK_HELD_MAX, "the lock was held for {took:?}");
    stack.kill("settler-1", "CONT").await.unwrap();
    wait_settled(&ledger, &ids).await;
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), ids.len(), "each once");
    stack.shutdown().await;
}
