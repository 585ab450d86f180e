//! The whole life of a sale, as buyers and watchers see it: scheduled, open, paused, sold out,
//! open again, closed.

use std::time::{Duration, SystemTime};

use domain::contract::rfc3339;
use futures_util::StreamExt;
use serde_json::{Value, json};
use stack::{Stack, StackOptions};
use tokio_tungstenite::tungstenite::Message;

use super::{Ask, post, shop};
use crate::buyer::{Ledger, get, post_buy};
use crate::wait::wait_until;

/// A frame is written when the clock says so; the rest is a busy machine.
const AT_ONCE_MAX_MS: i64 = 500;

fn now_ms() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn ms(text: &Value) -> i64 {
    rfc3339::parse(text.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("{text}"))
}

/// The next frame of product 2 in this state.
async fn state<S>(socket: &mut S, wanted: &str) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let wait = async {
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] == "stock" && frame["product_id"] == 2 && frame["state"] == wanted {
                return frame;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), wait).await;
    in_time.unwrap_or_else(|_| panic!("nobody was told that the sale is {wanted}"))
}

async fn code(http: &str, user: i64) -> String {
    let body = json!({ "user_id": user, "product_id": 2 }).to_string();
    let answer = post_buy(http, body).await.unwrap();
    if answer.status == 202 { "ACCEPTED".to_owned() } else { answer.text("code").to_owned() }
}

/// Edges read what is on sale once a second.
async fn listed_everywhere(stack: &Stack) {
    wait_until("every edge lists it", || async {
        for edge in ["edge-1", "edge-2", "edge-3"] {
            let listed = get(&stack.url(edge).unwrap(), "/api/products/2").await.unwrap();
            if listed.status != 200 {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_is_scheduled_opens_pauses_sells_out_opens_again_and_closes() {
    let stack = shop(StackOptions { stock: 1, ..StackOptions::default() }, &[]).await;
    let (http, ledger) = (stack.http(), Ledger::open(&stack).await);
    let ws = format!("{}/ws", http.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(ws).await.unwrap();

    let opens_at = now_ms() + 3_600_000;
    let new = json!({
        "name": "Pixel 10", "price_minor": 2_990_000, "currency": "THB", "stock": 3,
        "opens_at": rfc3339::from_ms(opens_at),
    });
    let created = Ask::new("POST", "/products", &new.to_string()).send(http).await.unwrap();
    assert_eq!((created.status.as_u16(), &created.body["applied"]), (201, &json!(true)));
    assert_eq!(created.headers["location"], "/api/products/2");
    let frame = state(&mut socket, "scheduled").await;
    assert_eq!(ms(&frame["opens_at"]), opens_at, "a client can count down");
    assert!(ms(&frame["server_time"]) < opens_at);
    listed_everywhere(&stack).await;
    assert_eq!(code(http, 1).await, "SALE_NOT_STARTED");
    let opens_at = now_ms() + 3_000;
    let sooner = json!({ "opens_at": rfc3339::from_ms(opens_at) }).to_string();
    assert_eq!(Ask::new("PATCH", "/products/2", &sooner).send(http).await.unwrap().status, 200);

    let frame = state(&mut socket, "open").await;
    let late_ms = ms(&frame["server_time"]) - opens_at;
    assert!((0..AT_ONCE_MAX_MS).contains(&late_ms), "told {late_ms} ms after the clock");
    assert_eq!(code(http, 1).await, "ACCEPTED");

    let paused = post(http, "/products/2/pause").await;
    assert_eq!((&paused.body["state"], &paused.body["applied"]), (&json!("paused"), &json!(true)));
    assert_eq!(code(http, 2).await, "SALE_PAUSED", "from the answer on");
    state(&mut socket, "paused").await;
    assert_eq!(post(http, "/products/2/pause").await.status, 200, "again is no error");
    assert_eq!(post(http, "/products/2/resume").await.status, 200);
    state(&mut socket, "open").await;
    assert_eq!([code(http, 2).await, code(http, 3).await], ["ACCEPTED", "ACCEPTED"]);
    let frame = state(&mut socket, "sold_out").await;
    assert_eq!(frame["available"], 0);
    wait_until("strangers are told from memory", || async { code(http, 4).await == "SOLD_OUT" })
        .await;

    let body = r#"{"delta":2,"reason":"found in the back"}"#;
    let more = Ask::new("POST", "/products/2/adjustments", body).with("idempotency-key", "k");
    assert_eq!(more.send(http).await.unwrap().status, 201);
    let frame = state(&mut socket, "open").await;
    assert_eq!(frame["available"], 2);
    wait_until("units that were added are sold", || async { code(http, 4).await == "ACCEPTED" })
        .await;

    let closes_at = now_ms() + 1_500;
    let change = json!({ "closes_at": rfc3339::from_ms(closes_at) }).to_string();
    assert_eq!(Ask::new("PATCH", "/products/2", &change).send(http).await.unwrap().status, 200);
    let frame = state(&mut socket, "closed").await;
    let late_ms = ms(&frame["server_time"]) - closes_at;
    assert!((0..AT_ONCE_MAX_MS).contains(&late_ms), "told {late_ms} ms after the clock");
    assert_eq!(code(http, 5).await, "SALE_ENDED");
    // A window that passed may be moved; only `close` is for good.
    let longer = Ask::new("PATCH", "/products/2", r#"{"closes_at":null}"#).send(http).await;
    assert_eq!(longer.unwrap().status, 200);
    state(&mut socket, "open").await;
    assert_eq!(code(http, 5).await, "ACCEPTED");
    assert_eq!(post(http, "/products/2/close").await.status, 200);
    state(&mut socket, "closed").await;
    wait_until("all is settled", || async { ledger.orders().await.len() == 5 }).await;
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 2").await, 0);
    stack.shutdown().await;
}
