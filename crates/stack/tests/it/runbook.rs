//! The runbook, done: what it tells a person to type works, and finds what it is meant to find.

use serde_json::json;
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy, get, post_buy};
use crate::dockerfile::read;
use crate::monitoring::alerts;
use crate::wait::wait_until;

/// The runbook's first block that begins with `start`, up to `end`.
fn block<'a>(runbook: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = runbook.split_once(start).unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {start:?}")).0
}

#[test]
fn it_knows_every_alert() {
    let runbook = read("docs/RUNBOOK.md");
    for (name, _) in alerts() {
        assert!(runbook.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_created_a_sale_paused_and_the_books_are_checked_as_it_says() {
    let runbook = read("docs/RUNBOOK.md");
    let options = StackOptions { edges: 1, settlers: 1, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;

    let create = block(&runbook, "-c \"INSERT", "\"");
    ledger.execute(&format!("INSERT{create}")).await;
    wait_until("the new product is listed", || async {
        get(stack.http(), "/api/products/2").await.unwrap().status == 200
    })
    .await;
    let order = json!({ "user_id": 1, "product_id": 2 }).to_string();
    wait_until("its sale is loaded", || async {
        post_buy(stack.http(), order.clone()).await.unwrap().text("code") == "SALE_NOT_STARTED"
    })
    .await;

    assert_eq!(buy(stack.http(), 1).await.unwrap().status, 202);
    let pause = block(&runbook, "-c \"UPDATE products", "\"");
    ledger.execute(&format!("UPDATE products{pause}")).await;
    let key = block(&runbook, "HDEL '", "'");
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("HDEL").arg(key).arg("vouch").exec_async(&mut redis).await.unwrap();
    wait_until("the sale is paused", || async {
        buy(stack.http(), 2).await.unwrap().text("code") == "SALE_PAUSED"
    })
    .await;

    wait_until("the order is settled", || async { ledger.orders().await.len() == 1 }).await;
    let checks: Vec<&str> = block(&runbook, "```sql", "```").split(';').collect();
    let checks = &checks[..checks.len() - 1];
    assert_eq!(checks.len(), 2);
    for check in checks {
        assert_eq!(ledger.count(check).await, 0, "{check}");
    }
    // Both must be able to find something.
    ledger.execute("UPDATE products SET stock = stock - 1, buyer_limit = 2 WHERE id = 1").await;
    ledger.execute("UPDATE orders SET quantity = 3").await;
    for check in checks {
        assert_eq!(ledger.count(check).await, 1, "{check}");
    }
    stack.shutdown().await;
}
