//! F21 and F22: the feed loses its connection to Redis, and clients that never read it.
//!
//! I10: what a client has seen, (epoch, rev), never goes back, and is the truth soon after quiet.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use stack::{Stack, StackOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::{metric, redis, sale_field, wait_quiet};
use crate::buyer::Ledger;
use crate::crowd::Crowd;
use crate::wait::wait_until;

/// How soon a client knows the truth once nothing changes any more (I10).
const TRUTH_MAX: Duration = Duration::from_secs(1);
/// Times the feed is cut off while buyers press.
const CUTS: usize = 20;
/// Clients that never read.
const STUCK: usize = 1_000;
/// What an edge may use more with all of them: each has its own small buffers and two tasks.
const BYTES_A_CLIENT_MAX: u64 = 64 * 1024;

/// (epoch, rev, available) as a client saw it last.
type Seen = (i64, i64, i64);

fn seen_in(value: &Value) -> Option<Seen> {
    let of = match value["type"].as_str()? {
        "stock" => value,
        "snapshot" => &value["products"][0],
        _ => return None,
    };
    let number = |field: &str| of[field].as_i64();
    Some((number("epoch")?, number("rev")?, number("available")?))
}

/// Follows the feed of one edge and panics when it goes back.
async fn follow(edge: &str) -> watch::Receiver<Seen> {
    let url = format!("{}/ws", edge.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (tell, seen) = watch::channel((0, 0, 0));
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let Some(now) = seen_in(&serde_json::from_str(&text).unwrap()) else { continue };
            tell.send_if_modified(|last| {
                let forward = (now.0, now.1) >= (last.0, last.1);
                // Shown once and for good: nobody can miss it.
                *last = if forward { now } else { (i64::MIN, now.1, last.1) };
                true
            });
            if tell.borrow().0 == i64::MIN {
                return;
            }
        }
    });
    seen
}

async fn cut_feed(redis: &::redis::aio::MultiplexedConnection) {
    let mut kill = ::redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub").exec_async(&mut redis.clone()).await.unwrap();
}

/// F21: every connection of the feed is cut again and again while a crowd presses, the last time
/// together with the last change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_cut_off_never_goes_back_and_soon_is_the_truth() {
    let stack = Stack::start(StackOptions { edges: 2, ..StackOptions::default() }).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let redis = redis(&stack).await;
    let mut clients = Vec::new();
    for edge in ["edge-1", "edge-2"] {
        clients.push(follow(&stack.url(edge).unwrap()).await);
    }
    let crowd = Crowd::start(stack.http(), 4, Duration::from_millis(40));
    for _ in 0..CUTS {
        crowd.accepts(5).await;
        cut_feed(&redis).await;
    }
    let told = crowd.go_home().await;
    assert_eq!(told.check(&ledger).await, 0);
    cut_feed(&redis).await;
    wait_quiet(&stack, &ledger).await;
    let quiet = Instant::now();
    let truth = (
        sale_field(&redis, "epoch").await.unwrap(),
        sale_field(&redis, "rev").await.unwrap(),
        sale_field(&redis, "available").await.unwrap(),
    );
    wait_until("every client knows the truth", || async {
        clients.iter().all(|seen| *seen.borrow() == truth || seen.borrow().0 == i64::MIN)
    })
    .await;
    for seen in &clients {
        assert_eq!(*seen.borrow(), truth, "I10: a client went back");
    }
    let after = quiet.elapsed();
    assert!(after < TRUTH_MAX, "I10: {after:?} after quiet");
    stack.shutdown().await;
}

/// Opens a WebSocket with the smallest receive buffer and reads no more than the handshake.
async fn connect_and_never_read(address: std::net::SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(socket.into()).unwrap();
    let handshake = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\
                     connection: upgrade\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    stream
}

/// Resident memory of a process of the stack.
fn resident_bytes(stack: &Stack, name: &str) -> u64 {
    let pid = stack.status().processes.iter().find(|p| p.name == name).unwrap().pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// F22: a thousand clients that never read cost a bounded amount of memory, are dropped for their
/// silence or a stuck write, and another client goes on hearing everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_never_read_are_dropped_and_nobody_notices() {
    let options = StackOptions { edges: 1, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let edge = stack.url("edge-1").unwrap();
    let reader = follow(&edge).await;
    let before = resident_bytes(&stack, "edge-1");
    let address = edge.trim_start_matches("http://").parse().unwrap();
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(connect_and_never_read(address).await);
    }
    let clients = || metric(&edge, "flashsale_ws_clients");
    wait_until("all are clients", || async { clients().await >= STUCK as f64 }).await;
    let mut most = 0;
    let crowd = Crowd::start(stack.http(), 8, Duration::from_millis(5));
    let started = Instant::now();
    while clients().await > 1.0 {
        assert!(started.elapsed() < Duration::from_secs(120), "{} are left", clients().await);
        most = resident_bytes(&stack, "edge-1").max(most);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = crowd.go_home().await;
    assert_eq!((told.turned_away.len(), told.unknown.len()), (0, 0));
    assert_eq!(told.check(&ledger).await, 0);
    wait_quiet(&stack, &ledger).await;
    let redis = redis(&stack).await;
    let available = sale_field(&redis, "available").await.unwrap();
    wait_until("the client that reads heard everything", || async {
        reader.borrow().2 == available
    })
    .await;
    let more = most.saturating_sub(before);
    assert!(more < STUCK as u64 * BYTES_A_CLIENT_MAX, "{more} bytes more");
    drop(stuck);
    stack.shutdown().await;
}
