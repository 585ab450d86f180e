//! `Idempotency-Key` through nginx and three edges: the same key gets the same reservation,
//! whatever became of the sale or of Redis meanwhile.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use redis::aio::MultiplexedConnection;
use stack::{Stack, StackOptions};
use tokio::task::JoinSet;

use crate::buyer::{Answer, Ledger, send};
use crate::sold_out::calls;
use crate::wait::{patient, wait_until};

const KEY: &str = "7f3c9a52-press-1";

/// One press of Buy with these keys.
async fn press(base: &str, user: u64, quantity: u32, keys: &[&[u8]]) -> Answer {
    let body = format!(r#"{{"user_id":{user},"product_id":1,"quantity":{quantity}}}"#);
    let mut request = Request::post("/api/buy")
        .header("host", "localhost")
        .header("content-type", "application/json");
    for key in keys {
        request = request.header("idempotency-key", *key);
    }
    send(base, request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
}

/// Status, and `replayed` or the code.
fn told(answer: &Answer) -> (u16, String) {
    let status = answer.status.as_u16();
    match status {
        202 => (status, answer.body["replayed"].to_string()),
        _ => (status, answer.text("code").to_owned()),
    }
}

struct Sale {
    stack: Stack,
    redis: MultiplexedConnection,
    ledger: Ledger,
}

impl Sale {
    async fn start(stock: i64) -> Self {
        let options = patient(StackOptions { stock, ..StackOptions::default() });
        let stack = Stack::start(options).await.unwrap();
        let client = redis::Client::open(stack.redis_url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        let ledger = Ledger::open(&stack).await;
        Self { stack, redis, ledger }
    }

    async fn press(&self, user: u64, quantity: u32, key: &str) -> Answer {
        press(self.stack.http(), user, quantity, &[key.as_bytes()]).await
    }

    /// Asserts that user 1's key gets this first answer again, and nothing else does.
    async fn assert_replays(&self, first: &Answer) {
        for _ in 0..3 {
            let again = self.press(1, 1, KEY).await;
            assert_eq!(told(&again), (202, "true".into()), "{again:?}");
            for field in ["reservation_id", "position", "quantity", "status_url", "status"] {
                assert_eq!(again.body[field], first.body[field], "{field}");
            }
            assert_eq!(again.headers["location"], first.headers["location"]);
        }
        let id = first.text("reservation_id");
        let other = self.press(1, 2, KEY).await;
        assert_eq!(told(&other), (422, "IDEMPOTENCY_KEY_REUSED".into()), "{other:?}");
        assert_eq!(other.text("reservation_id"), id);
        for keys in [&[b"another-key".as_slice()] as &[&[u8]], &[]] {
            let stranger = press(self.stack.http(), 1, 1, keys).await;
            assert_eq!(told(&stranger), (409, "ALREADY_PURCHASED".into()), "{stranger:?}");
            assert_eq!(stranger.text("reservation_id"), id);
        }
    }

    async fn available(&self) -> i64 {
        let mut redis = self.redis.clone();
        let mut get = redis::cmd("HGET");
        get.arg("sale:{1}").arg("available").query_async(&mut redis).await.unwrap()
    }

    async fn run(&self, command: &mut redis::Cmd) {
        let mut redis = self.redis.clone();
        command.exec_async(&mut redis).await.unwrap();
    }

    /// Waits until user 1's key is answered at all.
    async fn wait_open(&self) {
        wait_until("the sale is open again", || async {
            self.press(1, 1, KEY).await.status != 503
        })
        .await;
    }

    async fn wait_settled(&self, orders: usize) {
        wait_until("everything is settled", || async {
            self.ledger.orders().await.len() == orders
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_pressed_fifty_times_at_once_is_one_reservation() {
    let sale = Sale::start(100).await;
    let mut presses = JoinSet::new();
    for _ in 0..50 {
        let http = sale.stack.http().to_owned();
        presses.spawn(async move { press(&http, 1, 1, &[KEY.as_bytes()]).await });
    }
    let answers = presses.join_all().await;
    let ids: BTreeSet<_> = answers.iter().map(|answer| answer.text("reservation_id")).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
    let first: Vec<_> = answers.iter().filter(|a| a.body["replayed"] == false).collect();
    assert_eq!(first.len(), 1, "one of them made it");
    sale.assert_replays(first[0]).await;

    let neighbour = sale.press(2, 1, KEY).await;
    assert_eq!(told(&neighbour), (202, "false".into()), "another user's key is another key");
    assert_ne!(neighbour.text("reservation_id"), first[0].text("reservation_id"));
    assert_eq!(told(&press(sale.stack.http(), 3, 1, &[]).await), (202, "false".into()));
    let late = sale.press(3, 1, KEY).await;
    assert_eq!(told(&late), (409, "ALREADY_PURCHASED".into()), "an order without a key has none");
    sale.wait_settled(3).await;
    assert_eq!(sale.available().await, 97);
    sale.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_key_is_refused_and_reserves_nothing() {
    let sale = Sale::start(100).await;
    let long = [b'x'; 256];
    let cases: [(&[&[u8]], u16, &str); 6] = [
        (&[b""], 422, "INVALID_FIELD"),
        (&[b"two words"], 422, "INVALID_FIELD"),
        (&["clé".as_bytes()], 422, "INVALID_FIELD"),
        (&[b"tab\there"], 422, "INVALID_FIELD"),
        (&[&long], 422, "INVALID_FIELD"),
        (&[b"one", b"two"], 400, "BAD_REQUEST"),
    ];
    for (keys, status, code) in cases {
        let answer = press(sale.stack.http(), 1, 1, keys).await;
        assert_eq!(told(&answer), (status, code.to_owned()), "{keys:?}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        if status == 422 {
            assert_eq!(answer.text("field"), "Idempotency-Key");
        }
    }
    assert_eq!(sale.available().await, 100, "I12: nothing was reserved");
    let most = press(sale.stack.http(), 1, 1, &[&long[1..]]).await;
    assert_eq!(told(&most), (202, "false".into()));
    sale.stack.shutdown().await;
}

/// I11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_answered_sold_out_rebuilt_paused_and_closed() {
    let sale = Sale::start(2).await;
    let first = sale.press(1, 1, KEY).await;
    assert_eq!(told(&first), (202, "false".into()));
    assert_eq!(sale.press(2, 1, KEY).await.status, 202);
    sale.assert_replays(&first).await;
    let edge = sale.stack.url("edge-1").unwrap();
    let mut stranger = 1000;
    wait_until("strangers are told sold out from memory", || {
        stranger += 1;
        let (user, stack, edge) = (stranger, &sale.stack, &edge);
        async move {
            let before = calls(&stack.url("edge-1").unwrap()).await;
            let answer = press(edge, user, 1, &[KEY.as_bytes()]).await;
            assert_eq!(told(&answer), (400, "SOLD_OUT".into()), "a refusal is judged each time");
            calls(&stack.url("edge-1").unwrap()).await == before
        }
    })
    .await;
    assert_eq!(told(&press(&edge, 1, 1, &[KEY.as_bytes()]).await), (202, "true".into()));
    sale.assert_replays(&first).await;

    sale.wait_settled(2).await;
    sale.run(&mut redis::cmd("FLUSHALL")).await;
    sale.wait_open().await;
    sale.assert_replays(&first).await;

    for (state, code) in [("paused", "SALE_PAUSED"), ("closed", "SALE_ENDED")] {
        let set = format!("UPDATE products SET state = '{state}', version = version + 1");
        sale.ledger.execute(&set).await;
        sale.run(redis::cmd("HDEL").arg("sale:{1}").arg("vouch")).await;
        sale.wait_open().await;
        sale.assert_replays(&first).await;
        assert_eq!(told(&sale.press(3, 1, KEY).await), (409, code.to_owned()));
    }
    assert_eq!(sale.ledger.orders().await.len(), 2);
    sale.ledger.assert_adds_up().await;
    sale.stack.shutdown().await;
}
