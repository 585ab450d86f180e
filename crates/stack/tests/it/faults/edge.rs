//! Buyers who are not there any more when their answer comes.

use std::time::Duration;

use fastrand::Rng;
use stack::{Stack, StackOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{NO_SWEEPER, env, redis, wait_quiet};
use crate::buyer::Ledger;
use crate::wait::wait_until;

const CLIENTS: u64 = 1_000;
/// Clients at once.
const AT_ONCE: usize = 50;
/// Longest time a client waits before it hangs up: some answers take longer, some do not.
const PATIENCE_MAX_US: u64 = 8_000;
/// Makes the same clients hang up after the same times.
const SEED: u64 = 2;

/// Presses Buy and hangs up without reading the answer.
async fn press_and_hang_up(authority: String, user: u64, patience: Duration) {
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let request = format!(
        "POST /api/buy HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(patience).await;
}

/// F2: a thousand clients hang up at random moments, half of them on an edge itself. Nothing is
/// stranded: whatever was reserved is settled, without the sweeper.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_hang_up_strand_nothing() {
    let env = env(&[NO_SWEEPER]);
    let stack = Stack::start(StackOptions { edges: 2, env, ..StackOptions::default() });
    let stack = stack.await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let doors = [stack.http().to_owned(), stack.url("edge-1").unwrap()];
    let mut dice = Rng::with_seed(SEED);
    let mut clients = JoinSet::new();
    for user in 1..=CLIENTS {
        let door = doors[usize::from(user.is_multiple_of(2))].trim_start_matches("http://");
        let patience = Duration::from_micros(dice.u64(0..=PATIENCE_MAX_US));
        clients.spawn(press_and_hang_up(door.to_owned(), user, patience));
        while clients.len() >= AT_ONCE {
            clients.join_next().await.unwrap().unwrap();
        }
    }
    clients.join_all().await;
    wait_quiet(&stack, &ledger).await;
    let redis = redis(&stack).await;
    let reserved = || async {
        let mut redis = redis.clone();
        let length: usize =
            ::redis::cmd("HLEN").arg("buyers:{1}").query_async(&mut redis).await.unwrap();
        length
    };
    wait_until("each reservation has its order", || async {
        ledger.orders().await.len() == reserved().await
    })
    .await;
    let orders = ledger.orders().await;
    assert!(orders.values().all(|status| status == "confirmed"), "SEED={SEED}");
    assert!(orders.len() > 20, "SEED={SEED}: only {} were reserved at all", orders.len());
    stack.shutdown().await;
}
