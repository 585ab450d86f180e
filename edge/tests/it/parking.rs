//! Requests that wait for a closed sale: bounded by count and by age.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::fixture::{Sale, wait_until};
use crate::raw::{ask, buy_bytes};

const WAITING_MAX: usize = 20;
const BUYERS: u64 = 60;
/// How long a request may wait: longer than a settler takes to start and to vouch.
const BUY_TIMEOUT: &str = "20000";
/// What is turned away is turned away at once; the rest is for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// While the sale is closed, as many requests wait as are allowed, and get their answer when it
/// opens; the others are turned away at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_sale_keeps_so_many_waiting_and_turns_the_others_away_at_once() {
    // Batches of one: the bound is on what waits besides the batch under way.
    let waiting_max = WAITING_MAX.to_string();
    let env = [
        ("EDGE_WAITING_MAX", waiting_max.as_str()),
        ("EDGE_BATCH_MAX", "1"),
        ("EDGE_BUY_TIMEOUT_MS", BUY_TIMEOUT),
    ];
    let sale = Sale::start_with(&env).await;
    sale.stack.stop("settler-1").await.unwrap();
    sale.close().await;

    let mut buyers = JoinSet::new();
    for user in 1..=BUYERS {
        let edge = sale.edge.clone();
        buyers.spawn(async move {
            let started = Instant::now();
            (ask(&edge, &buy_bytes(user)).await.unwrap(), started.elapsed())
        });
    }
    let mut away = 0;
    while away < usize::try_from(BUYERS).unwrap() - WAITING_MAX - 1 {
        let (answer, took) = buyers.join_next().await.unwrap().unwrap();
        assert_eq!((answer.status, answer.code()), (503, "UNAVAILABLE"));
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
        assert!(took < AT_ONCE, "turned away after {took:?}");
        away += 1;
    }
    sale.stack.resume("settler-1").await.unwrap();
    let parked = buyers.join_all().await;
    assert_eq!(parked.len(), WAITING_MAX + 1, "the queue, and the one under way");
    for (answer, took) in parked {
        assert_eq!(answer.status, 202, "after {took:?}: {answer:?}");
    }
    wait_until("all of them are settled", || async {
        let confirmed = "SELECT count(*) FROM orders WHERE status = 'confirmed'";
        sale.number(confirmed).await == i64::try_from(WAITING_MAX + 1).unwrap()
    })
    .await;
    sale.stack.shutdown().await;
}
