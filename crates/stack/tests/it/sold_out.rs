//! A sold-out sale is told from memory, and neither owners nor units that return are missed.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, buy, get, resolve};
use crate::wait::{patient, wait_until};

/// Calls of `reserve.lua` an edge made so far.
pub(crate) async fn calls(edge: &str) -> u64 {
    let metrics = get(edge, "/metrics").await.unwrap();
    let text = metrics.body.as_str().unwrap().to_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("flashsale_batch_orders_count{stage=\"reserve\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn code(http: &str, user: u64) -> String {
    let answer = buy(http, user).await.unwrap();
    match answer.status.as_u16() {
        202 => "ACCEPTED".to_owned(),
        _ => answer.text("code").to_owned(),
    }
}

/// Strangers press at this edge until they cost no call any more.
async fn wait_until_told_from_memory(edge: &str) {
    let mut stranger = 1000;
    wait_until("strangers cost no call any more", || {
        let first = stranger;
        stranger += 20;
        async move {
            let before = calls(edge).await;
            for user in first..first + 20 {
                assert_eq!(code(edge, user).await, "SOLD_OUT");
            }
            calls(edge).await == before
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sold_out_is_told_from_memory_and_forgotten_when_units_return() {
    let options = StackOptions { edges: 1, stock: 3, ..StackOptions::default() };
    let stack = Stack::start(patient(options)).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let mut owned = Vec::new();
    for user in 1..=3 {
        let answer = buy(stack.http(), user).await.unwrap();
        assert_eq!(answer.status, 202);
        owned.push(answer.text("reservation_id").to_owned());
    }
    let edge = stack.url("edge-1").unwrap();
    wait_until_told_from_memory(&edge).await;
    wait_until("owners cost no call either", || async {
        let before = calls(&edge).await;
        for (user, id) in (1..).zip(&owned) {
            let answer = buy(stack.http(), user).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text("reservation_id")), (409, id.as_str()));
        }
        calls(&edge).await == before
    })
    .await;

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
        let told = code(stack.http(), 4).await;
        assert!(matches!(told.as_str(), "ACCEPTED" | "SOLD_OUT" | "UNAVAILABLE"), "{told}");
        told == "ACCEPTED"
    })
    .await;
    assert_eq!(code(stack.http(), 5).await, "ACCEPTED");
    assert_eq!(code(stack.http(), 6).await, "SOLD_OUT");
    for user in 1..=5 {
        assert_eq!(code(stack.http(), user).await, "ALREADY_PURCHASED", "user {user}");
    }
    stack.shutdown().await;
}

/// Units that return are sold by every edge within this time, by contract.
const SOLD_AGAIN_MAX: Duration = Duration::from_millis(250);
/// Times units return: a lucky order of events would not be lucky so often.
const ROUNDS: u64 = 5;

/// A stranger at each of three edges gets one of three units that return, whichever edge returned
/// them: sold out is not for ever.
async fn units_return_to_three_edges(stack: &Stack) {
    let edges = ["edge-1", "edge-2", "edge-3"].map(|name| stack.url(name).unwrap());
    let mut owned = Vec::new();
    for (user, edge) in (1..).zip(&edges) {
        let answer = buy(edge, user).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        owned.push(answer.text("status_url").to_owned());
    }
    let mut slowest = Duration::ZERO;
    for round in 1..=ROUNDS {
        for edge in &edges {
            wait_until_told_from_memory(edge).await;
        }
        let returned = Instant::now();
        for url in owned.drain(..) {
            let answer = resolve(&edges[0], &url, "cancel").await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let sold = edges.iter().zip(1..).map(|(edge, n)| async move {
            let mut user = 1_000_000 * round + 100_000 * n;
            loop {
                user += 1;
                let answer = buy(edge, user).await.unwrap();
                match answer.status.as_u16() {
                    202 => return (returned.elapsed(), answer.text("status_url").to_owned()),
                    _ => assert_eq!(answer.text("code"), "SOLD_OUT", "{answer:?}"),
                }
                let waited = returned.elapsed();
                assert!(waited < 20 * SOLD_AGAIN_MAX, "{edge} still says sold out, {waited:?}");
            }
        });
        for (took, url) in futures_util::future::join_all(sold).await {
            slowest = slowest.max(took);
            owned.push(url);
        }
    }
    assert!(slowest < SOLD_AGAIN_MAX, "sold again only after {slowest:?}");
}

async fn with_holds() -> (Stack, MultiplexedConnection) {
    let options = patient(StackOptions { stock: 3, ..StackOptions::default() });
    let stack = Stack::start(options).await.unwrap();
    Ledger::open(&stack).await.hold(3600).await;
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let redis = client.get_multiplexed_async_connection().await.unwrap();
    (stack, redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_return_are_sold_by_every_edge() {
    let (stack, _) = with_holds().await;
    units_return_to_three_edges(&stack).await;
    stack.shutdown().await;
}

/// The feed's connection is ended as often as it is made: only the probe can tell an edge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_return_are_sold_by_every_edge_whose_feed_is_cut() {
    let (stack, mut redis) = with_holds().await;
    let mut cuts = 0;
    let cutting = async {
        loop {
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("TYPE").arg("pubsub");
            cuts += kill.query_async::<u64>(&mut redis).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = cutting => {}
        () = units_return_to_three_edges(&stack) => {}
    }
    assert!(cuts > 2 * 3, "the feed was cut {cuts} times only");
    stack.shutdown().await;
}
