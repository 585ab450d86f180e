//! A whole sale through nginx, three edges and two settlers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use stack::{Stack, StackOptions};
use tokio_tungstenite::tungstenite::Message;

use crate::buyer::{Answer, Ledger, buy, get, post_buy};
use crate::wait::{DEADLINE, patient, wait_until};

async fn selling(options: StackOptions) -> Stack {
    Stack::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_accepted_followed_confirmed_and_seen_by_everyone() {
    let stack = selling(StackOptions::default()).await;
    let http = stack.http();
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("{}/ws", http.replace("http", "ws")))
            .await
            .unwrap();
    let hello = next_message(&mut socket, "hello").await;
    assert_eq!(hello["protocol"], 1);
    let snapshot = next_message(&mut socket, "snapshot").await;
    assert_eq!(snapshot["products"][0]["name"], "iPhone 15 Pro");
    assert_eq!(snapshot["products"][0]["stock"], 1000);

    let first = buy(http, 1).await.unwrap();
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!((first.text("status"), &first.body["position"]), ("queued", &Value::from(1)));
    let id = first.text("reservation_id").to_owned();
    assert_eq!(first.headers["location"], first.text("status_url"));

    let watch = format!(r#"{{"type":"watch","reservation_id":"{id}"}}"#);
    socket.send(Message::text(watch)).await.unwrap();
    let outcome = next_message(&mut socket, "order").await;
    assert_eq!(
        (outcome["status"].as_str(), outcome["reservation_id"].as_str()),
        (Some("confirmed"), Some(id.as_str()))
    );

    let again = buy(http, 1).await.unwrap();
    assert_eq!((again.status.as_u16(), again.text("code")), (409, "ALREADY_PURCHASED"));
    assert_eq!(again.text("reservation_id"), id, "I11: the same order");

    let order = get(http, first.text("status_url")).await.unwrap();
    assert_eq!((order.status.as_u16(), order.text("status")), (200, "confirmed"));
    assert!(!order.text("settled_at").is_empty());

    // A fresh client starts from what is true, or hears it: its edge may learn it a moment later.
    let ws = format!("{}/ws", http.replace("http", "ws"));
    let (mut late, _) = tokio_tungstenite::connect_async(ws).await.unwrap();
    told_left(&mut late, 999).await;
    let second = buy(http, 2).await.unwrap();
    assert_eq!(second.status, 202);
    let told = told_left(&mut late, 998).await;
    assert_eq!((told["type"].as_str(), told["state"].as_str()), (Some("stock"), Some("open")));

    let ledger = Ledger::open(&stack).await;
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 998);
    assert_eq!(ledger.number("SELECT count(*) FROM orders").await, 2);
    stack.shutdown().await;
}

/// The next message of this type; others are passed over.
pub(crate) async fn next_message<S>(socket: &mut S, kind: &str) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    next_where(socket, kind, |message| message["type"] == kind).await
}

/// The snapshot or frame that says so many units are left.
async fn told_left<S>(socket: &mut S, units: i64) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let is_right = |message: &Value| {
        let sale = if message["type"] == "snapshot" { &message["products"][0] } else { message };
        sale["stock"] == units
    };
    next_where(socket, &format!("{units} left"), is_right).await
}

async fn next_where<S>(socket: &mut S, what: &str, is_right: impl Fn(&Value) -> bool) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let wait = async {
        loop {
            let message = socket.next().await.unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text).unwrap();
            if is_right(&value) {
                return value;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never told: {what}"))
}

const UNITS: usize = 1000;
const BUYERS: u64 = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_buyers_get_exactly_a_thousand_units() {
    let options = StackOptions { settlers: 2, stock: 1000, ..StackOptions::default() };
    let stack = Arc::new(selling(patient(options)).await);
    let answers = rush(&stack).await;

    let mut accepted: BTreeMap<u64, String> = BTreeMap::new();
    for (user, answer) in &answers {
        match answer.status.as_u16() {
            202 => {
                let id = answer.text("reservation_id").to_owned();
                assert!(accepted.insert(*user, id).is_none(), "user {user} was accepted twice");
            }
            400 => assert_eq!(answer.text("code"), "SOLD_OUT"),
            409 => assert_eq!(answer.text("code"), "ALREADY_PURCHASED"),
            _ => panic!("user {user}: {answer:?}"),
        }
    }
    assert_eq!(accepted.len(), UNITS, "exactly as many 202s as units");
    for (user, answer) in &answers {
        match accepted.get(user) {
            Some(id) if answer.status == 409 => assert_eq!(answer.text("reservation_id"), id),
            Some(_) => assert_ne!(answer.status, 400, "an owner is never told sold out"),
            None => assert_eq!(answer.status, 400, "user {user} owns nothing"),
        }
    }

    let ledger = Ledger::open(&stack).await;
    wait_until("every 202 is settled", || async {
        ledger.number("SELECT count(*) FROM orders").await == 1000
    })
    .await;
    let orders = ledger.orders().await;
    let ids: BTreeSet<_> = accepted.values().cloned().collect();
    assert_eq!(orders.keys().cloned().collect::<BTreeSet<_>>(), ids, "I6: an order a 202");
    assert!(orders.values().all(|status| status == "confirmed"), "I7: nobody is rejected");
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 0, "I9");
    ledger.assert_adds_up().await;
    let out_of_line = "SELECT max(seq) - count(*) FROM orders";
    assert_eq!(ledger.number(out_of_line).await, 0, "the first thousand in line got them");

    for (user, id) in accepted.iter().take(50) {
        let answer = buy(stack.http(), *user).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text("reservation_id")), (409, id.as_str()));
    }
    let latecomer = buy(stack.http(), BUYERS + 1).await.unwrap();
    assert_eq!((latecomer.status.as_u16(), latecomer.text("code")), (400, "SOLD_OUT"));
    let product = get(stack.http(), "/api/products/1").await.unwrap();
    assert_eq!(product.text("state"), "sold_out");
    Arc::into_inner(stack).unwrap().shutdown().await;
}

/// Every buyer presses, a third of them twice, 100 at a time.
async fn rush(stack: &Arc<Stack>) -> Vec<(u64, Answer)> {
    let presses = (1..=BUYERS).chain((1..=BUYERS).filter(|user| user % 3 == 0));
    let presses: Vec<u64> = presses.collect();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..100 {
        let mine: Vec<u64> = presses.iter().copied().skip(worker).step_by(100).collect();
        let stack = stack.clone();
        workers.spawn(async move {
            let mut answers = Vec::new();
            for user in mine {
                answers.push((user, buy(stack.http(), user).await.unwrap()));
            }
            answers
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sold_is_refused_precisely_and_reserves_nothing() {
    let stack = selling(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let cases = [
        (r#"{"user_id":1,"product_id":404}"#, 404, "UNKNOWN_PRODUCT"),
        ("{", 400, "INVALID_JSON"),
        (r#"{"user_id":1,"product_id":1} x"#, 400, "INVALID_JSON"),
        (r#"{"user_id":0,"product_id":1}"#, 422, "INVALID_FIELD"),
        (r#"{"user_id":"1","product_id":1}"#, 422, "INVALID_FIELD"),
        (r#"{"user_id":1}"#, 422, "INVALID_FIELD"),
        (r#"{"user_id":1,"product_id":1,"quantity":2}"#, 422, "INVALID_FIELD"),
        (r#"{"user_id":1,"product_id":1,"quantity":-100}"#, 422, "INVALID_FIELD"),
    ];
    for (number, (body, status, code)) in cases.into_iter().enumerate() {
        let answer = post_buy(stack.http(), body.to_owned()).await.unwrap();
        let told = (answer.status.as_u16(), answer.text("code"));
        assert_eq!(told, (status, code), "case {number}: {body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "case {number}");
    }
    let large = format!(r#"{{"user_id":1,"product_id":1{}}}"#, " ".repeat(5000));
    assert_eq!(post_buy(stack.http(), large).await.unwrap().status, 413);
    let product = get(stack.http(), "/api/products/1").await.unwrap();
    assert_eq!(product.body["available"], 1000, "I12: a 4xx leaves no reservation");
    let next = buy(stack.http(), 1).await.unwrap();
    assert_eq!((next.status.as_u16(), &next.body["position"]), (202, &Value::from(1)));
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_is_not_loaded_is_unavailable_and_never_sold_out() {
    let stack = selling(StackOptions { edges: 1, ..StackOptions::default() }).await;
    // Without a settler nobody vouches, so an emptied Redis stays closed.
    stack.stop("settler-1").await.unwrap();
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    let answer = buy(stack.http(), 1).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text("code")), (503, "UNAVAILABLE"));
    assert_eq!(answer.headers["retry-after"], "1");
    stack.resume("settler-1").await.unwrap();
    wait_until("the sale is open again", || async {
        let answer = buy(stack.http(), 1).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 202 | 409 | 503), "{answer:?}");
        answer.status != 503
    })
    .await;
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_refuses_before_it_opens_while_paused_and_after_it_ends() {
    let stack = selling(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let owner = buy(stack.http(), 1).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let cases = [
        ("opens_at = now() + interval '1 hour'", "SALE_NOT_STARTED"),
        ("opens_at = NULL, closes_at = now() - interval '1 hour'", "SALE_ENDED"),
        ("closes_at = NULL, state = 'paused'", "SALE_PAUSED"),
        ("state = 'closed'", "SALE_ENDED"),
    ];
    for (change, code) in cases {
        ledger.execute(&format!("UPDATE products SET {change} WHERE id = 1")).await;
        // The gatekeeper loads schedule and state when it vouches.
        redis::cmd("HDEL").arg("sale:{1}").arg("vouch").exec_async(&mut redis).await.unwrap();
        wait_until(code, || async { buy(stack.http(), 2).await.unwrap().text("code") == code })
            .await;
        let again = buy(stack.http(), 1).await.unwrap();
        assert_eq!(again.text("code"), "ALREADY_PURCHASED", "an order comes before the schedule");
        assert_eq!(again.text("reservation_id"), owner.text("reservation_id"));
    }
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}
