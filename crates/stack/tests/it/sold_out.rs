//! A sold-out sale is told from memory, and neither owners nor units that return are missed.

use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy, get};
use crate::wait::wait_until;

/// Calls of `reserve.lua` the edge made so far.
pub(crate) async fn calls(stack: &Stack) -> u64 {
    let metrics = get(&stack.url("edge-1").unwrap(), "/metrics").await.unwrap();
    let text = metrics.body.as_str().unwrap().to_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("flashsale_batch_orders_count{stage=\"reserve\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn code(stack: &Stack, user: u64) -> String {
    let answer = buy(stack.http(), user).await.unwrap();
    match answer.status.as_u16() {
        202 => "ACCEPTED".to_owned(),
        _ => answer.text("code").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sold_out_is_told_from_memory_to_strangers_and_forgotten_when_units_return() {
    let options = StackOptions { edges: 1, stock: 3, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let mut owned = Vec::new();
    for user in 1..=3 {
        let answer = buy(stack.http(), user).await.unwrap();
        assert_eq!(answer.status, 202);
        owned.push(answer.text("reservation_id").to_owned());
    }
    let mut stranger = 1000;
    wait_until("strangers cost no call any more", || {
        let first = stranger;
        stranger += 20;
        let stack = &stack;
        async move {
            let before = calls(stack).await;
            for user in first..first + 20 {
                assert_eq!(code(stack, user).await, "SOLD_OUT");
            }
            calls(stack).await == before
        }
    })
    .await;
    for (user, id) in (1..).zip(&owned) {
        let answer = buy(stack.http(), user).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text("reservation_id")), (409, id.as_str()));
    }

    // Two more units arrive, and Redis is loaded anew.
    wait_until("everything is settled", || async {
        ledger.number("SELECT stock FROM products WHERE id = 1").await == 0
    })
    .await;
    ledger.execute("UPDATE products SET stock = 2, total = 5, version = version + 1").await;
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    wait_until("a stranger gets one of them", || async {
        let told = code(&stack, 4).await;
        assert!(matches!(told.as_str(), "ACCEPTED" | "SOLD_OUT" | "UNAVAILABLE"), "{told}");
        told == "ACCEPTED"
    })
    .await;
    assert_eq!(code(&stack, 5).await, "ACCEPTED");
    assert_eq!(code(&stack, 6).await, "SOLD_OUT");
    for user in 1..=5 {
        assert_eq!(code(&stack, user).await, "ALREADY_PURCHASED", "user {user}");
    }
    stack.shutdown().await;
}
