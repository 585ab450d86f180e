//! B140 to B147: clients that keep a connection and do nothing with it. All at once, so that the
//! others are seen to be served meanwhile.

use std::time::Duration;

use super::{After, buy_with, head};
use crate::fixture::Sale;
use crate::raw::Raw;

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
