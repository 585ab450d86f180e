//! F26: operators adjust stock while three edges sell, and die in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use stack::{Stack, StackOptions};

use super::command_line::settler;
use super::{adjust, shop};
use crate::buyer::{Ledger, buy, get};
use crate::wait::{patient, wait_until};

const ROUNDS: i64 = 25;

/// Buys as different users until told to stop.
async fn sell(stack: Arc<Stack>, first: u64, over: Arc<AtomicBool>) {
    for user in first.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let answer = buy(stack.http(), user).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 202 | 400), "{answer:?}");
    }
}

/// The books at quiet, as `settler reconcile` sees them.
fn books(stack: &Stack) -> Value {
    let (code, printed) = settler(stack, &["reconcile", "--json", "--wait-ms", "30000"]);
    let view: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(view["products"][0]["quiet"], true, "{printed}");
    view["products"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_adjusted_in_the_middle_of_a_sale_adds_up_and_each_key_counts_once() {
    let options = StackOptions { stock: 200, settlers: 2, ..StackOptions::default() };
    let stack = Arc::new(shop(patient(options), &[]).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut buyers = tokio::task::JoinSet::new();
    for worker in 0..8_u64 {
        buyers.spawn(sell(stack.clone(), 1 + worker * 1_000_000, over.clone()));
    }
    let mut operators = tokio::task::JoinSet::new();
    for (name, sign) in [("add", 1), ("take", -1)] {
        for copy in 0..2 {
            // Two operators ask for the same under the same keys, through whichever edge.
            let stack = stack.clone();
            operators.spawn(async move {
                let mut applied = Vec::new();
                for round in 1..=ROUNDS {
                    let (delta, key) = (sign * (1 + round % 7), format!("{name}-{round}"));
                    let mut answer = adjust(stack.http(), delta, &key).await.unwrap();
                    while answer.status == 503 {
                        answer = adjust(stack.http(), delta, &key).await.unwrap();
                    }
                    match answer.status.as_u16() {
                        201 => applied.push((key, delta, true)),
                        200 => {
                            assert_eq!(answer.body["replayed"], true, "copy {copy}");
                            applied.push((key, delta, false));
                        }
                        409 => assert_eq!(answer.text("code"), "NOT_ENOUGH_FREE"),
                        _ => panic!("{answer:?}"),
                    }
                }
                applied
            });
        }
    }
    let answers = operators.join_all().await.concat();
    let mut made = BTreeSet::new();
    let twice = answers.iter().find(|(key, _, is_new)| *is_new && !made.insert(key));
    assert_eq!(twice, None, "made twice");
    // Of a key whose 201 was lost, both heard that it had been done.
    let applied: BTreeMap<_, _> = answers.iter().map(|(key, delta, _)| (key, delta)).collect();
    let applied: i64 = applied.into_values().sum();
    over.store(true, Ordering::Relaxed);
    buyers.join_all().await;
    let ledger = Ledger::open(&stack).await;
    let recorded = "SELECT sum(delta)::bigint FROM adjustments WHERE status = 'applied'";
    assert_eq!(ledger.number(recorded).await, applied, "what was answered is applied once");
    let distinct = "SELECT count(*) FROM adjustments";
    assert_eq!(ledger.number(distinct).await, 2 * ROUNDS, "each key once");
    let books = books(&stack);
    assert_eq!(books["total"], 200 + applied, "T = initial + adjustments: {books}");
    assert_eq!(books["available"], books["stock"], "{books}");
    ledger.assert_adds_up().await;
    let rejected = "SELECT count(*) FROM orders WHERE status = 'rejected'";
    assert_eq!(ledger.number(rejected).await, 0, "I7");
    // Below what is free: refused, and says how much is free.
    let free = books["available"].as_i64().unwrap();
    let refused = adjust(stack.http(), -free - 1, "below").await.unwrap();
    let told = (refused.status.as_u16(), refused.text("code"), refused.body["available"].as_i64());
    assert_eq!(told, (409, "NOT_ENOUGH_FREE", Some(free)));
    Arc::into_inner(stack).unwrap().shutdown().await;
}

/// The edge dies when units are marked in Redis, or when they are out of the stock and Redis does
/// not know. The leading settler brings it to its end, and the retry through another edge is told
/// what was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_dies_in_the_middle_of_an_adjustment_leaves_nothing_half_done() {
    let points = tempfile::tempdir().unwrap();
    let options = StackOptions { edges: 2, stock: 100, ..StackOptions::default() };
    let stack = shop(options, &[("KILL_POINTS", points.path().to_str().unwrap())]).await;
    let [first, second] = ["edge-1", "edge-2"].map(|name| stack.url(name).unwrap());
    let ledger = Ledger::open(&stack).await;
    let mut total = 100;
    for (point, delta) in [
        ("adjustment.marked", -3),
        ("adjustment.committed", -4),
        ("adjustment.committed", 5),
        ("adjustment.marked", -2),
    ] {
        std::fs::write(points.path().join(point), "").unwrap();
        let key = format!("{point}{delta}");
        assert!(adjust(&first, delta, &key).await.is_none(), "the edge died before it answered");
        total += delta;
        wait_until("a settler brought it to its end", || async {
            ledger.number("SELECT total FROM products WHERE id = 1").await == total
        })
        .await;
        let again = adjust(&second, delta, &key).await.unwrap();
        let told = (again.status.as_u16(), again.body["total"].as_i64());
        assert_eq!(told, (200, Some(total)), "{again:?}");
        let books = books(&stack);
        let units = [&books["total"], &books["stock"], &books["available"]];
        assert_eq!(units, [total; 3].map(Value::from).each_ref(), "{point}");
        wait_until("the edge serves again", || async {
            get(&first, "/readyz").await.is_some_and(|answer| answer.status == 200)
        })
        .await;
    }
    stack.shutdown().await;
}
