//! Processes killed with -9 in the middle of a sale: every 202 still ends with exactly one order.

use std::time::Duration;

use stack::{Stack, StackOptions};

use crate::buyer::Ledger;
use crate::crowd::Crowd;
use crate::wait::wait_running;

async fn survives(kill: &[&str]) {
    let options = StackOptions { settlers: 2, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let crowd = Crowd::start(stack.http(), 16, Duration::from_millis(2));
    crowd.accepts(50).await;
    for name in kill {
        stack.kill(name, "KILL").await.unwrap();
        // The sale goes on, or comes back, and then the next one dies.
        crowd.accepts(100).await;
        wait_running(&stack, name).await;
    }
    let told = crowd.go_home().await;
    let ledger = Ledger::open(&stack).await;
    let rejected = told.check(&ledger).await;
    assert_eq!(rejected, 0, "I7: Redis lost nothing, so nobody is rejected after a 202");
    assert!(told.contradicted.is_empty(), "I11: a replay returns the same id");
    assert!(told.accepted.len() > 100, "{kill:?}: {} unknown", told.unknown.len());
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_and_an_edge_killed_mid_sale_lose_nothing() {
    survives(&["settler-1", "edge-1", "settler-2", "edge-2", "nginx"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_killed_mid_sale_loses_nothing() {
    survives(&["redis", "postgres", "rabbitmq"]).await;
}
