//! B140 to B150: clients that keep a connection and do nothing with it. All at once, so that the
//! others are seen to be served meanwhile.

use std::time::Duration;

use super::{After, buy_with, head};
use crate::fixture::{Sale, wait_until};
use crate::raw::{Raw, buy_bytes};

/// nginx gives a head, a body and a reader 10 s each, an edge a body 5 s; on a busy machine.
const CLOSED_MAX: Duration = Duration::from_secs(30);
/// Between two bytes of one who drips.
const DRIP: Duration = Duration::from_millis(100);

/// B140, B141: says nothing.
async fn silent(base: String) {
    assert!(Raw::connect(&base).await.ends_by(None).await, "silent at {base}");
}

/// B142, B143: a header that never ends. The next byte comes long before any timeout.
async fn dripping_head(base: String) {
    let mut raw = Raw::connect(&base).await;
    raw.send(b"GET /api/products HTTP/1.1\r\nhost: a\r\nx: ").await;
    assert!(raw.ends_by(Some((b"y", DRIP))).await, "a dripping head at {base}");
}

/// B144, B145: a body that does not come. nginx closes without a word.
async fn no_body(base: String, status: Option<u16>) {
    let mut raw = Raw::connect(&base).await;
    raw.send(buy_with("content-length: 100\r\n", "{").as_bytes()).await;
    let answer = raw.answer_within(CLOSED_MAX).await;
    assert_eq!(answer.as_ref().map(|a| a.status), status, "{answer:?} at {base}");
    assert!(answer.is_none_or(|answer| answer.code() == "REQUEST_TIMEOUT"));
}

/// B146, B147: asks on and on and reads nothing.
async fn never_reading(base: String) {
    let mut raw = Raw::connect(&base).await;
    let asked = head("GET /api/openapi.json", "").repeat(100);
    while raw.try_send(asked.as_bytes()).await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_cut_off_and_nobody_else_notices() {
    let sale = Sale::start_with(&[("EDGE_IDLE_MS", "1000")]).await;
    let after = After::bought(&sale).await;
    let mut slow = tokio::task::JoinSet::new();
    for (base, status) in [(&sale.edge, Some(408)), (&sale.stack.http().to_owned(), None)] {
        for _ in 0..20 {
            slow.spawn(silent(base.clone()));
            slow.spawn(dripping_head(base.clone()));
            slow.spawn(no_body(base.clone(), status));
            slow.spawn(never_reading(base.clone()));
        }
    }
    let all = async {
        while let Some(ended) = slow.join_next().await {
            ended.unwrap();
            after.hold(&sale, &sale.edge, "a slow client at the edge").await;
            after.hold(&sale, sale.stack.http(), "a slow client at nginx").await;
        }
    };
    tokio::time::timeout(CLOSED_MAX, all).await.expect("every slow client is cut off");
    sale.stack.shutdown().await;
}

/// Connections of the edge in the next test.
const CONNECTIONS_MAX: usize = 30;
/// What the kernel may hold for a client that does not read: more than is set, as it counts its own
/// share. Without a bound it takes megabytes.
const UNREAD_MAX: u64 = 256 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_take_neither_every_connection_nor_the_memory_of_the_kernel() {
    let most = CONNECTIONS_MAX.to_string();
    let sale = Sale::start_with(&[("EDGE_IDLE_MS", "2000"), ("EDGE_CONNECTIONS_MAX", &most)]).await;
    for base in [sale.edge.as_str(), sale.stack.http()] {
        what_is_left_unread_is_bounded(base).await;
    }

    // B150: every connection is taken, and as many wait for one.
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX * 2 {
        silent.push(Raw::connect(&sale.edge).await);
    }
    let mut buyer = Raw::connect(&sale.edge).await;
    buyer.send(&buy_bytes(7)).await;
    let answer = buyer.answer_within(CLOSED_MAX).await.expect("the buyer's turn comes");
    assert_eq!(answer.status, 202);
    assert!(silent[0].is_closed().await, "those who said nothing made room");
    sale.stack.shutdown().await;
}

/// B148, B149: 40 answers of 140 KiB are asked for, and none is read.
async fn what_is_left_unread_is_bounded(base: &str) {
    let mut raw = Raw::connect(base).await;
    raw.send(head("GET /api/openapi.json", "").repeat(40).as_bytes()).await;
    // The server goes on until nothing more is taken from it.
    let (mut most, mut looks) = (0, 0);
    wait_until("the server has written what it can", || {
        let unread = raw.unread();
        looks = if unread > 0 && unread <= most { looks + 1 } else { 0 };
        most = most.max(unread);
        std::future::ready(looks > 20)
    })
    .await;
    assert!(most < UNREAD_MAX, "{most} bytes for one client of {base}");
}
