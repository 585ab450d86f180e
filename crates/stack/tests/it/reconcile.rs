//! F32: every drift that is injected by hand is reported, and nothing repairs it silently.

use std::process::Command;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy, get};
use crate::documents::program;
use crate::wait::wait_until;

/// `settler reconcile --json`: whether it was content, and what it printed.
pub(crate) fn reconcile(stack: &Stack, more: &[&str]) -> (bool, String) {
    let output = Command::new(program("settler"))
        .arg("reconcile")
        .args(more)
        .env("REDIS_URL", stack.redis_url())
        .env("AMQP_URL", stack.amqp_url())
        .env("DATABASE_URL", stack.database_url())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// What does not hold, such as `I1 by 1`.
fn findings(stack: &Stack) -> Vec<String> {
    let (fine, printed) = reconcile(stack, &["--json", "--wait-ms", "30000"]);
    let view: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    let product = &view["products"][0];
    assert_eq!(product["quiet"], true, "{printed}");
    let findings = product["findings"].as_array().unwrap();
    assert_eq!((fine, view["holds"].as_bool()), (findings.is_empty(), Some(findings.is_empty())));
    let text = |f: &Value| format!("{} by {}", f["invariant"].as_str().unwrap(), f["amount"]);
    findings.iter().map(text).collect()
}

async fn add_available(redis: &mut MultiplexedConnection, units: i64) {
    let mut change = redis::cmd("HINCRBY");
    change.arg("sale:{1}").arg("available").arg(units).exec_async(redis).await.unwrap();
}

/// Without the index that keeps a buyer to one order, orders are added up by buyer.
async fn a_buyer_with_two_orders_is_found(stack: &Stack, ledger: &Ledger) {
    let index = "SELECT pg_get_indexdef('orders_one_holder'::regclass)";
    let index = ledger.text(index).await;
    ledger.execute("DROP INDEX orders_one_holder").await;
    assert_eq!(findings(stack), [""; 0]);
    ledger.execute("UPDATE orders SET user_id = 1 WHERE user_id = 3").await;
    assert_eq!(findings(stack), ["I5 by 1"], "each of the two orders is within the limit");
    ledger.execute("UPDATE orders SET user_id = 3 WHERE user_id = 1 AND seq = 3").await;
    ledger.execute(&index).await;
    assert_eq!(findings(stack), [""; 0]);
}

async fn metric(stack: &Stack, line: &str) -> bool {
    let page = get(&stack.url("settler-1").unwrap(), "/metrics").await.unwrap();
    page.body.as_str().unwrap().lines().any(|l| l == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_drift_made_by_hand_is_reported_and_left_as_it_is() {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "200".to_owned())];
    let options = StackOptions { edges: 1, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    for user in 1..=3 {
        assert_eq!(buy(stack.http(), user).await.unwrap().status, 202);
    }
    let ledger = Ledger::open(&stack).await;
    wait_until("all is settled", || async { ledger.orders().await.len() == 3 }).await;
    assert_eq!(findings(&stack), [""; 0]);
    let (fine, words) = reconcile(&stack, &[]);
    assert!(fine && words.contains("total 1000 = stock 997 + orders 3; available 997"), "{words}");
    wait_until("quiet is exported", || async {
        metric(&stack, "flashsale_drift_units{product=\"1\",invariant=\"I4\"} 0").await
            && metric(&stack, "flashsale_queue_messages{queue=\"orders\"} 0").await
    })
    .await;

    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    add_available(&mut redis, 2).await;
    assert_eq!(findings(&stack), ["I4 by 2"], "Redis would sell what is not there");
    wait_until("the metric and the log say so", || async {
        let log = std::fs::read_to_string(stack.dir().join("logs/settler-1.log")).unwrap();
        metric(&stack, "flashsale_drift_units{product=\"1\",invariant=\"I4\"} 2").await
            && log.contains("Redis can reserve units that are not there")
    })
    .await;
    add_available(&mut redis, -5).await;
    assert_eq!(findings(&stack), ["I4 by 3"], "units nobody can buy");
    add_available(&mut redis, 3).await;
    assert_eq!(findings(&stack), [""; 0]);

    ledger.execute("UPDATE orders SET quantity = 2 WHERE user_id = 1").await;
    assert_eq!(findings(&stack), ["I1 by -1", "I5 by 1"]);
    ledger.execute("UPDATE orders SET quantity = 1 WHERE user_id = 1").await;
    a_buyer_with_two_orders_is_found(&stack, &ledger).await;
    ledger.execute("DELETE FROM orders WHERE user_id = 2").await;
    assert_eq!(findings(&stack), ["I1 by 1"], "an order vanished");
    wait_until("the metric says so", || async {
        metric(&stack, "flashsale_drift_units{product=\"1\",invariant=\"I1\"} 1").await
    })
    .await;
    assert_eq!(ledger.orders().await.len(), 2, "nothing was repaired");
    ledger.execute("UPDATE products SET total = 998, stock = 996 WHERE id = 1").await;
    assert_eq!(findings(&stack), ["I1 by -2", "I4 by 1"], "the row was edited by hand");

    stack.shutdown().await;
}
