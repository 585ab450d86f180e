//! The runbook, done: what it tells a person to type works, and finds what it is meant to find.

use std::process::Command;

use serde_json::json;
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy, get, post_buy};
use crate::dockerfile::read;
use crate::documents::program;
use crate::monitoring::alerts;
use crate::wait::wait_until;

/// The runbook's first block that begins with `start`, up to `end`.
fn block<'a>(runbook: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = runbook.split_once(start).unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {start:?}")).0
}

/// Types a line into a shell that finds our programs, with the URLs the page says to export.
pub(crate) fn shell(stack: &Stack, line: &str) -> String {
    let programs = program("settler").parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{programs}:{path}"))
        .env("REDIS_URL", stack.redis_url())
        .env("AMQP_URL", stack.amqp_url())
        .env("DATABASE_URL", stack.database_url())
        .env("ADMIN_TOKEN", crate::admin::TOKEN)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let fine = output.status.success() || line.contains(" check ");
    assert!(fine, "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
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

    let create = block(&runbook, "```sh\n   settler sale create", "```");
    shell(&stack, &format!("settler sale create{create}"));
    wait_until("the new product is listed", || async {
        get(stack.http(), "/api/products/2").await.unwrap().status == 200
    })
    .await;
    let order = json!({ "user_id": 1, "product_id": 2 }).to_string();
    assert_eq!(post_buy(stack.http(), order).await.unwrap().text("code"), "SALE_NOT_STARTED");
    let check = block(&runbook, "```sh\n   settler sale check", "```");
    shell(&stack, &format!("settler sale check{check}"));

    assert_eq!(buy(stack.http(), 1).await.unwrap().status, 202);
    let change = block(&runbook, "```sh\nsettler sale pause", "```");
    let mut lines = change.lines();
    shell(&stack, &format!("settler sale pause{}", lines.next().unwrap()));
    assert_eq!(buy(stack.http(), 2).await.unwrap().text("code"), "SALE_PAUSED");
    lines.for_each(|line| drop(shell(&stack, line)));
    let body = json!({ "user_id": 2, "product_id": 1, "quantity": 2 }).to_string();
    assert_eq!(post_buy(stack.http(), body).await.unwrap().status, 202, "with the new limit");
    let adjust = block(&runbook, "```sh\nsettler sale adjust", "```");
    let adjust = format!("settler sale adjust{adjust}");
    for line in adjust.lines().chain(adjust.lines()) {
        shell(&stack, line);
    }
    assert_eq!(ledger.number("SELECT total FROM products WHERE id = 1").await, 1047, "once a key");
    let close = block(&runbook, "**Close it**: `", "`");
    shell(&stack, close);
    assert_eq!(buy(stack.http(), 3).await.unwrap().text("code"), "SALE_ENDED");

    wait_until("the order is settled", || async { ledger.orders().await.len() == 2 }).await;
    let checks: Vec<&str> = block(&runbook, "```sql", "```").split(';').collect();
    let checks = &checks[..checks.len() - 1];
    assert_eq!(checks.len(), 2);
    for check in checks {
        assert_eq!(ledger.count(check).await, 0, "{check}");
    }
    // Both must be able to find something.
    ledger.execute("UPDATE products SET stock = stock - 1 WHERE id = 1").await;
    ledger.execute("UPDATE orders SET quantity = 3 WHERE user_id = 1").await;
    for check in checks {
        assert_eq!(ledger.count(check).await, 1, "{check}");
    }
    stack.shutdown().await;
}
