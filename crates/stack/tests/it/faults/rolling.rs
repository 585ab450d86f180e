//! F29 and F30: edges that die or are replaced while buyers press.
//!
//! A POST is sent to one edge once; an edge that is told to stop costs nobody an answer.

use std::time::Duration;

use stack::{Stack, StackOptions};

use super::overload::{answer, press};
use super::wait_quiet;
use crate::buyer::{Ledger, buy, get};
use crate::crowd::Crowd;
use crate::wait::wait_running;

const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// Presses under way, a third of them at each edge.
const PRESSES: u32 = 30;
const ROUNDS: usize = 2;
/// 202s between two restarts.
const BETWEEN: u64 = 300;

/// F29: what a dead edge had is not sent to another one; whoever asked is told that the outcome is
/// not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_whose_edge_was_killed_is_not_sent_again() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    // Nothing is read, so nothing is reserved, until they thaw; one of them never does.
    for edge in EDGES {
        stack.kill(edge, "STOP").await.unwrap();
    }
    let mut waiting = Vec::new();
    for user in 1..=PRESSES {
        waiting.push(press(&stack, user).await);
    }
    // Sent: the last one through nginx, so the others before it.
    crate::wait::wait_until("nginx has sent every press", || async { sent(&stack) >= PRESSES })
        .await;
    stack.kill("edge-1", "KILL").await.unwrap();
    wait_running(&stack, "edge-1").await;
    for edge in ["edge-2", "edge-3"] {
        stack.kill(edge, "CONT").await.unwrap();
    }
    let (mut accepted, mut unknown) = (0, 0);
    for stream in waiting {
        let answer = answer(stream).await;
        accepted += u32::from(answer.starts_with("HTTP/1.1 202"));
        unknown += u32::from(answer.contains("OUTCOME_UNKNOWN"));
    }
    assert_eq!((accepted, unknown), (PRESSES * 2 / 3, PRESSES / 3));
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.number("SELECT count(*) FROM orders").await, i64::from(accepted));
    assert_eq!(get(stack.http(), "/api/products/1").await.unwrap().status, 200);
    stack.shutdown().await;
}

/// Each edge refused within the same moment, two of them are back: nginx, which thinks all of them
/// away, asks again before it turns anybody away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_that_are_thought_away_are_asked_before_a_buyer_is_turned_away() {
    // Out and back within what nginx remembers, so that at the third edge it has all of them away.
    let env = vec![("EDGE_LAME_DUCK_MS".to_owned(), "1".to_owned())];
    let stack = Stack::start(StackOptions { env, ..StackOptions::default() }).await.unwrap();
    let mut user = 0;
    for edge in EDGES {
        stack.stop(edge).await.unwrap();
        for _ in EDGES {
            user += 1;
            let answer = buy(stack.http(), user).await.unwrap();
            assert_eq!(answer.status, 202, "{edge}, user {user}: {answer:?}");
        }
        stack.resume(edge).await.unwrap();
        stack.wait_ready().await.unwrap();
    }
    let ledger = Ledger::open(&stack).await;
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.number("SELECT count(*) FROM orders").await, i64::try_from(user).unwrap());
    stack.shutdown().await;
}

/// Connections nginx has to the edges with bytes in them that a frozen edge has not read.
fn sent(stack: &Stack) -> u32 {
    let port = |edge: &str| {
        let url = stack.url(edge).unwrap();
        url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap()
    };
    let ports = EDGES.map(|edge| format!("0100007F:{:04X}", port(edge)));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let unread = table.lines().skip(1).filter(|line| {
        // Local address, state ESTABLISHED, and the length of the receive queue (proc(5)).
        let fields: Vec<_> = line.split_whitespace().collect();
        let waits = fields[4].split_once(':').is_some_and(|(_, bytes)| bytes != "00000000");
        ports.iter().any(|port| port == fields[1]) && fields[3] == "01" && waits
    });
    u32::try_from(unread.count()).unwrap()
}

/// F30: every edge is replaced twice while a crowd presses through nginx. Nobody is turned away,
/// nobody is left without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_replaced_one_after_the_other_cost_nobody_an_answer() {
    let options = StackOptions { stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let crowd = Crowd::start(stack.http(), 48, Duration::from_millis(2));
    crowd.accepts(BETWEEN).await;
    for _ in 0..ROUNDS {
        for edge in EDGES {
            stack.stop(edge).await.unwrap();
            crowd.accepts(BETWEEN).await;
            stack.resume(edge).await.unwrap();
            stack.wait_ready().await.unwrap();
            crowd.accepts(BETWEEN).await;
        }
    }
    let told = crowd.go_home().await;
    assert_eq!((told.turned_away.len(), told.unknown.len()), (0, 0), "of {}", told.accepted.len());
    assert_eq!(told.check(&ledger).await, 0);
    wait_quiet(&stack, &ledger).await;
    stack.shutdown().await;
}
