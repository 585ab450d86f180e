//! `settler dead` against a real broker: poison and an order of a product that comes later.

use std::process::{Command, Output};

use domain::ProductId;
use domain::contract::{order_message, topology};
use stack::Stack;

use crate::consume::{publish, settling};
use crate::fixture::{batch, order, wait_until};

fn dead(stack: &Stack, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
    command.arg("dead").args(words).env("AMQP_URL", stack.amqp_url()).output().unwrap()
}

fn said(stack: &Stack, words: &[&str]) -> String {
    let output = dead(stack, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_dropped_by_name() {
    let (servers, channel) = settling(100).await;
    let stack = &servers.stack;
    assert_eq!(said(stack, &["list"]), "no dead letters");
    assert_eq!(said(stack, &["list", "--json"]), "");

    publish(&channel, b"{\"v\":1,\"batches\":\"poison\\u0007\"}").await;
    let mut early = batch(1, &[order(1, 1, 1)]);
    early.product = ProductId::new(7).unwrap();
    publish(&channel, &order_message::encode([&early])).await;
    let depth = async || service::amqp::depth(&channel, topology::DEAD_QUEUE).await.unwrap();
    wait_until("both are dead letters", || async { depth().await == 2 }).await;

    let listed = said(stack, &["list"]);
    let early = listed.lines().find(|l| l.contains("no such product: 7")).unwrap();
    let poison = listed.lines().find(|l| l.contains("not an order message")).unwrap();
    let id = |line: &str| line.split("  ").next().unwrap().to_owned();
    let (early, poison) = (id(early), id(poison));
    let json = said(stack, &["list", "--json"]);
    assert_eq!(json.lines().count(), 2, "looking takes nothing away: {json}");
    assert!(json.contains(&format!("\"message_id\":\"{early}\"")), "{json}");

    // The product exists now: its order is settled like any other.
    let create = "INSERT INTO products (id, name, price_minor, currency, stock, total, epoch) \
                  VALUES (7, 'Pixel', 1, 'THB', 5, 5, 1)";
    servers.pool.get().await.unwrap().batch_execute(create).await.unwrap();
    assert_eq!(said(stack, &["replay", &early]), "1 replayed, 1 left");
    wait_until("the order is confirmed", || async {
        servers.number("SELECT count(*) FROM orders WHERE product_id = 7").await == 1
    })
    .await;

    let unknown = dead(stack, &["drop", "nobody"]);
    assert!(!unknown.status.success());
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(error.contains("1 of the message ids are not in the queue"), "{error}");
    assert!(!dead(stack, &["drop"]).status.success(), "what to drop must be said");
    // A replayed poison comes back: nothing is lost by trying.
    assert_eq!(said(stack, &["replay", &poison]), "1 replayed, 0 left");
    wait_until("the poison is back", || async { depth().await == 1 }).await;
    assert_eq!(said(stack, &["drop", "--all"]), "1 dropped, 0 left");
    assert_eq!(said(stack, &["list"]), "no dead letters");
    servers.assert_ledger_adds_up().await;
}
