//! F31, more presses than can be answered in time: the rest is told so at once, and what was told
//! UNAVAILABLE reserved nothing.

use std::time::Duration;

use stack::proxy::Direction;
use stack::{Stack, StackOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::shop::{Plan, Shop};
use super::{wait_quiet, wait_settled};
use crate::buyer::{Ledger, buy};

/// Replies of Redis take so long that a batch of four is worth nine requests a second.
const DELAY: Duration = Duration::from_millis(400);
const CROWD: u64 = 200;
/// Requests under way at one edge.
const UNDER_WAY: u32 = 50;
/// Requests at one edge beyond that, as a backup (`nginx/compose/upstreams.conf`).
const SPARE: u32 = 64;
/// Presses for which there is no room.
const TOO_MANY: u32 = 10;

/// Whoever would wait in vain behind the others is refused before any of those gets an answer; the
/// rest is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_refuses_at_once_whom_it_could_not_serve_in_time() {
    let env = [
        ("EDGE_BATCH_MAX", "4"),
        ("EDGE_REDIS_TIMEOUT_MS", "5000"),
        ("EDGE_BUY_TIMEOUT_MS", "5000"),
    ];
    let plan = Plan { edges: 1, settlers: 1, stock: 1000, edge_env: &env, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    shop.of_edges.redis.delay(Direction::ToClient, DELAY);
    let first = buy(shop.http(), 1).await.unwrap();
    assert_eq!(first.status, 202, "{first:?}");

    let mut crowd = JoinSet::new();
    for user in 2..=CROWD {
        let http = shop.http().to_owned();
        crowd.spawn(async move { buy(&http, user).await.unwrap() });
    }
    let mut answers = Vec::new();
    while let Some(answer) = crowd.join_next().await {
        answers.push(answer.unwrap());
    }
    let refused_first = answers.iter().take_while(|answer| answer.status == 503).count();
    let ids: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 202)
        .map(|answer| answer.text("reservation_id").to_owned())
        .collect();
    assert!(!ids.is_empty(), "some are served");
    assert!(refused_first > answers.len() / 2, "{refused_first} refused before the first 202");
    let others = answers.iter().filter(|answer| answer.status != 202);
    for answer in others {
        assert_eq!((answer.status.as_u16(), answer.text("code")), (503, "UNAVAILABLE"));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    shop.of_edges.redis.heal();
    wait_settled(&ledger, &ids).await;
    assert_eq!(ledger.number("SELECT count(*) FROM orders").await, ids.len() as i64 + 1);
    wait_quiet(&shop.servers, &ledger).await;
    shop.close().await;
}

/// nginx sends each edge a bounded number of requests at once. The next is refused there, without
/// waiting for the edges, which here are frozen; they serve what they had when they thaw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_is_told_by_nginx_while_the_edges_are_frozen() {
    let options = StackOptions { requests_an_edge: UNDER_WAY, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    for edge in ["edge-1", "edge-2", "edge-3"] {
        stack.kill(edge, "STOP").await.unwrap();
    }
    let mut crowd = JoinSet::new();
    for user in 1..=3 * (UNDER_WAY + SPARE) + TOO_MANY {
        crowd.spawn(answer(press(&stack, user).await));
    }
    // Whoever is answered by frozen edges is refused: the house is full, and stays so.
    let first = crowd.join_next().await.unwrap().unwrap();
    assert!(first.contains("\"code\":\"UNAVAILABLE\""), "{first}");
    let refused = buy(stack.http(), 999_999).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.text("code")), (503, "UNAVAILABLE"));
    assert_eq!(refused.headers["retry-after"], "1");
    for edge in ["edge-1", "edge-2", "edge-3"] {
        stack.kill(edge, "CONT").await.unwrap();
    }
    let answers = crowd.join_all().await;
    let accepted = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 202")).count();
    let accepted = i64::try_from(accepted).unwrap();
    // Those that a frozen edge was slow to take may have been given up; most were not.
    assert!(accepted > i64::from(UNDER_WAY), "{accepted} accepted");
    wait_quiet(&stack, &ledger).await;
    assert!(ledger.number("SELECT count(*) FROM orders").await >= accepted);
    let bought = ledger.number("SELECT count(*) FROM orders WHERE user_id = 999999").await;
    assert_eq!(bought, 0, "I12: refused, and bought");
    stack.shutdown().await;
}

/// Sends one press of Buy through nginx and reads nothing yet.
pub(super) async fn press(stack: &Stack, user: u32) -> TcpStream {
    let address = stack.http().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let request = format!(
        "POST /api/buy HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

pub(super) async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}
