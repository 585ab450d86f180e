//! What operators make and change reaches whoever watches, without asking again.

use serde_json::{Value, json};
use stack::StackOptions;

use super::{Ask, shop};
use crate::buyer::buy;
use crate::sale::next_message;

/// Waits for the message of a product whose field has this value; those in between are passed over.
async fn told<S>(socket: &mut S, product: i64, field: &str, value: Value) -> Value
where
    S: futures_util::StreamExt<
            Item = Result<
                tokio_tungstenite::tungstenite::Message,
                tokio_tungstenite::tungstenite::Error,
            >,
        > + Unpin,
{
    loop {
        let message = next_message(socket, "product").await;
        assert_eq!(message["product"]["product_id"], product, "nothing else changed: {message}");
        if message["product"][field] == value {
            return message["product"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_sale_a_name_a_limit_and_a_total_are_told_to_open_feeds() {
    let stack = shop(StackOptions { edges: 1, ..StackOptions::default() }, &[]).await;
    let url = format!("{}/ws", stack.http().replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    next_message(&mut socket, "snapshot").await;
    // Orders change no list.
    assert_eq!(buy(stack.http(), 1).await.unwrap().status, 202);
    next_message(&mut socket, "stock").await;

    let sale = json!({
        "product_id": 2, "name": "Pixel 10", "price_minor": 1, "currency": "THB", "stock": 5,
    });
    for (ask, field, value) in [
        (Ask::new("POST", "/products", &sale.to_string()), "name", json!("Pixel 10")),
        (Ask::new("PATCH", "/products/2", r#"{"name":"Pixel 11"}"#), "name", json!("Pixel 11")),
        (Ask::new("PATCH", "/products/2", r#"{"limit":3}"#), "limit", json!(3)),
        (
            Ask::new("POST", "/products/2/adjustments", r#"{"delta":2,"reason":"found"}"#)
                .with("idempotency-key", "found-1"),
            "total",
            json!(7),
        ),
    ] {
        let answer = ask.send(stack.http()).await.unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
        let product = told(&mut socket, 2, field, value).await;
        assert!(product["epoch"].is_i64() && product["server_time"].is_string(), "{product}");
    }
    stack.shutdown().await;
}
