//! Holds as buyers meet them: held, paid, cancelled, expired, over HTTP and on the feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::SinkExt;
use serde_json::Value;
use stack::{Stack, StackOptions};
use tokio_tungstenite::tungstenite::Message;

use crate::buyer::{Answer, Ledger, buy, get, post, resolve, send};
use crate::sale::next_message;
use crate::wait::{patient, wait_until};

/// Longer than any test.
const LONG: u32 = 3600;

async fn shop(options: StackOptions, hold_seconds: u32) -> (Stack, Ledger) {
    let stack = Stack::start(patient(options)).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    ledger.hold(hold_seconds).await;
    (stack, ledger)
}

/// One press of Buy that must be accepted, settled; the `status_url`.
async fn hold(stack: &Stack, user: u64) -> String {
    let answer = buy(stack.http(), user).await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    let url = answer.text("status_url").to_owned();
    wait_until("the order is held", || async { order(stack, &url).await == "held" }).await;
    url
}

async fn order(stack: &Stack, url: &str) -> String {
    get(stack.http(), url).await.unwrap().text("status").to_owned()
}

async fn told(stack: &Stack, url: &str, how: &str) -> (u16, String) {
    let answer = resolve(stack.http(), url, how).await.unwrap();
    let word = if answer.status == 200 { "status" } else { "code" };
    (answer.status.as_u16(), answer.text(word).to_owned())
}

fn is(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_order_is_paid_or_cancelled_or_expires_and_every_answer_says_so() {
    let (stack, ledger) = shop(StackOptions { edges: 1, ..StackOptions::default() }, LONG).await;
    let paid = hold(&stack, 1).await;
    let view = get(stack.http(), &paid).await.unwrap();
    assert!(view.text("expires_at") > view.text("settled_at"), "{view:?}");
    for _ in 0..2 {
        assert_eq!(told(&stack, &paid, "pay").await, is(200, "paid"));
    }
    assert_eq!(told(&stack, &paid, "cancel").await, is(409, "ORDER_PAID"));
    let view = get(stack.http(), &paid).await.unwrap();
    assert_eq!((view.text("status"), &view.body["expires_at"]), ("paid", &Value::Null));

    let cancelled = hold(&stack, 2).await;
    for _ in 0..2 {
        assert_eq!(told(&stack, &cancelled, "cancel").await, is(200, "cancelled"));
    }
    assert_eq!(told(&stack, &cancelled, "pay").await, is(409, "ORDER_CANCELLED"));
    let again = hold(&stack, 2).await;
    assert_ne!(again, cancelled, "whoever cancelled may buy again");

    ledger.execute("UPDATE orders SET expires_at = now() WHERE status = 'held'").await;
    wait_until("it expires", || async { order(&stack, &again).await == "expired" }).await;
    for how in ["pay", "cancel"] {
        assert_eq!(told(&stack, &again, how).await, is(409, "ORDER_EXPIRED"));
    }
    hold(&stack, 2).await;

    let id = "0190f5fe-7c00-7a00-8000-000000000001";
    let stranger = format!("/api/orders/{id}?{}", paid.split_once('?').unwrap().1);
    assert_eq!(told(&stack, &stranger, "pay").await, is(404, "UNKNOWN_ORDER"));
    ledger.hold(0).await;
    let at_once = buy(stack.http(), 3).await.unwrap().text("status_url").to_owned();
    wait_until("it is confirmed", || async { order(&stack, &at_once).await == "confirmed" }).await;
    for how in ["pay", "cancel"] {
        assert_eq!(told(&stack, &at_once, how).await, is(409, "NO_HOLD"));
    }
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_order_can_be_cancelled_and_not_be_paid() {
    let (stack, ledger) = shop(StackOptions { edges: 2, ..StackOptions::default() }, LONG).await;
    stack.stop("settler-1").await.unwrap();
    let [first, second] = ["edge-1", "edge-2"].map(|name| stack.url(name).unwrap());
    let queued = buy(&first, 1).await.unwrap().text("status_url").to_owned();
    let early = resolve(&second, &queued, "pay").await.unwrap();
    assert_eq!((early.status.as_u16(), early.text("code")), (409, "ORDER_QUEUED"));
    assert_eq!(early.headers["retry-after"], "1");
    let cancelled = resolve(&second, &queued, "cancel").await.unwrap();
    assert_eq!((cancelled.status.as_u16(), cancelled.text("status")), (200, "cancelled"));
    assert_eq!(cancelled.body["position"], 1);
    let again = buy(&second, 1).await.unwrap();
    assert_eq!((again.status.as_u16(), &again.body["position"]), (202, &Value::from(2)));
    stack.resume("settler-1").await.unwrap();
    let url = again.text("status_url").to_owned();
    wait_until("the second is held", || async { order(&stack, &url).await == "held" }).await;
    wait_until("the first's message was read", || async {
        let redis = get(&stack.url("settler-1").unwrap(), "/metrics").await.unwrap();
        let page = redis.body.as_str().unwrap().to_owned();
        page.lines().any(|line| line == "flashsale_settled_orders_total{status=\"replayed\"} 1")
    })
    .await;
    assert_eq!(order(&stack, &queued).await, "cancelled");
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 999);
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_resolution_is_refused_and_resolves_nothing() {
    let (stack, _) = shop(StackOptions { edges: 1, ..StackOptions::default() }, LONG).await;
    let url = hold(&stack, 1).await;
    let (path, query) = url.split_once('?').unwrap();
    let pay = format!("{path}/pay?{query}");
    let got = get(stack.http(), &pay).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.headers["allow"]), (405, &"POST".parse().unwrap()));
    let posted = post(stack.http(), &url).await.unwrap();
    assert_eq!((posted.status.as_u16(), &posted.headers["allow"]), (405, &"GET".parse().unwrap()));
    assert_eq!(post(stack.http(), &format!("{path}/give")).await.unwrap().status, 404);
    assert_eq!(
        post(stack.http(), "/api/orders/x/pay").await.unwrap().text("code"),
        "UNKNOWN_ORDER"
    );
    let cases = [
        ("application/json", "[]", 400, "INVALID_JSON"),
        ("application/json", "{} x", 400, "INVALID_JSON"),
        ("application/json", r#"{"amount":1}"#, 422, "INVALID_FIELD"),
        ("text/plain", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("application/json", " { } ", 200, ""),
    ];
    for (number, (media_type, body, status, code)) in cases.into_iter().enumerate() {
        let request = hyper::Request::post(&pay)
            .header("host", "localhost")
            .header("content-type", media_type)
            .body(http_body_util::Full::from(body))
            .unwrap();
        let answer = send(stack.http(), request).await.unwrap();
        let told = (answer.status.as_u16(), answer.text("code"));
        assert_eq!(told, (status, code), "case {number}: {body}");
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_an_order_hears_that_it_is_held_and_how_that_ends() {
    let (stack, ledger) = shop(StackOptions { edges: 2, ..StackOptions::default() }, LONG).await;
    let ws = format!("{}/ws", stack.url("edge-1").unwrap().replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(ws).await.unwrap();
    let other_edge = stack.url("edge-2").unwrap();
    for (user, end) in [(1, "paid"), (2, "cancelled"), (3, "expired")] {
        let url = hold(&stack, user).await;
        let id = url.split(['/', '?']).nth(3).unwrap();
        let watch = format!(r#"{{"type":"watch","reservation_id":"{id}"}}"#);
        socket.send(Message::text(watch)).await.unwrap();
        assert_eq!(next_message(&mut socket, "order").await["status"], "held");
        match end {
            "paid" => drop(resolve(&other_edge, &url, "pay").await.unwrap()),
            "cancelled" => drop(resolve(&other_edge, &url, "cancel").await.unwrap()),
            _ => ledger.execute("UPDATE orders SET expires_at = now() WHERE status = 'held'").await,
        }
        let heard = next_message(&mut socket, "order").await;
        assert_eq!((heard["reservation_id"].as_str(), &heard["status"]), (Some(id), &end.into()));
    }
    stack.shutdown().await;
}

const UNITS: u64 = 200;
const RETURNED: u64 = 20;

/// Arrival order: seq is the place in line a 202 names. At quiet those who hold are exactly the
/// first to arrive, as many as there are units; units that return go to the next in line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_go_to_the_first_in_line_and_everybody_is_told_their_place() {
    let options = StackOptions { settlers: 2, stock: 200, ..StackOptions::default() };
    let (stack, ledger) = shop(options, LONG).await;
    let stack = Arc::new(stack);
    let mut accepted = rush(&stack, 1..=UNITS * 2).await;
    assert_eq!(accepted.len() as u64, UNITS);
    let mut cancelled = BTreeSet::new();
    for (place, answer) in accepted.iter().step_by((UNITS / RETURNED) as usize) {
        let url = answer.text("status_url");
        let resolved = resolve(stack.http(), url, "cancel").await.unwrap();
        assert_eq!((resolved.status.as_u16(), &resolved.body["position"]), (200, &(*place).into()));
        cancelled.insert(*place);
    }
    wait_until("the units that returned are sold", || async {
        buy(stack.http(), 100_000).await.unwrap().status != 400
    })
    .await;
    accepted.extend(rush(&stack, UNITS * 2 + 1..=UNITS * 3).await);
    accepted.extend(own(&stack, 100_000).await);

    let last = i64::try_from(UNITS + RETURNED).unwrap();
    assert_eq!(accepted.keys().copied().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    wait_until("everything is settled", || async { ledger.orders().await.len() == accepted.len() })
        .await;
    let orders = ledger.orders().await;
    for (place, answer) in &accepted {
        let status = orders[answer.text("reservation_id")].as_str();
        let expected = if cancelled.contains(place) { "cancelled" } else { "held" };
        assert_eq!(status, expected, "number {place} in line");
        let seen = get(stack.http(), answer.text("status_url")).await.unwrap();
        assert_eq!(seen.body["position"], *place);
    }
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 0);
    let skipped = "SELECT max(seq) - count(*) FROM orders";
    assert_eq!(ledger.number(skipped).await, 0, "nobody in between was passed over");
    ledger.assert_adds_up().await;
    Arc::into_inner(stack).unwrap().shutdown().await;
}

/// The 202 of an order whose buyer pressed before, by its place.
async fn own(stack: &Stack, user: u64) -> Option<(i64, Answer)> {
    let again = buy(stack.http(), user).await.unwrap();
    assert_eq!(again.text("code"), "ALREADY_PURCHASED");
    let order = get(stack.http(), again.text("status_url")).await.unwrap();
    let place = order.body["position"].as_i64()?;
    Some((place, again))
}

/// All of them press, 40 at a time; the 202s by place in line.
async fn rush(stack: &Arc<Stack>, users: std::ops::RangeInclusive<u64>) -> BTreeMap<i64, Answer> {
    let users: Vec<u64> = users.collect();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..40 {
        let mine: Vec<u64> = users.iter().copied().skip(worker).step_by(40).collect();
        let stack = stack.clone();
        workers.spawn(async move {
            let mut accepted = Vec::new();
            for user in mine {
                let answer = buy(stack.http(), user).await.unwrap();
                match answer.status.as_u16() {
                    202 => accepted.push((answer.body["position"].as_i64().unwrap(), answer)),
                    _ => assert_eq!(answer.text("code"), "SOLD_OUT"),
                }
            }
            accepted
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}
