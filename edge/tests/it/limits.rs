//! What nginx lets one address have, and who may say which address that is.

use std::time::Duration;

use stack::{Limits, StackOptions};

use crate::fixture::{Sale, wait_until};
use crate::raw::{Answer, Raw};
use crate::socket::handshake;

/// Beyond a burst of 200 and 50 a second, however slow this machine is.
const REQUESTS: usize = 600;
/// Of one address, from `nginx/limits/on.conf`.
const FEEDS_MAX: usize = 200;
/// Less than 50 a second.
const PACE: Duration = Duration::from_millis(25);

/// A proxy nginx is told of.
const PROXY: &str = "127.0.0.2";

/// Many requests of one address, one after the other; what each was answered.
async fn hurry(base: &str, from: &str, forwarded: impl Fn(usize) -> String) -> Vec<Answer> {
    let mut raw = Raw::connect_from(base, from).await;
    let mut answers = Vec::new();
    for number in 0..REQUESTS {
        let forwarded = forwarded(number);
        let asked = format!(
            "GET /api/products/1 HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {forwarded}\r\n\r\n"
        );
        raw.send(asked.as_bytes()).await;
        answers.push(raw.answer().await.unwrap());
    }
    answers
}

fn refused(answers: &[Answer]) -> Vec<&Answer> {
    answers.iter().filter(|answer| answer.status != 200).collect()
}

fn is_too_many(answer: &Answer) -> bool {
    answer.status == 429
        && answer.code() == "TOO_MANY_REQUESTS"
        && answer.body["status"] == 429
        && answer.head.contains("content-type: application/problem+json")
        && answer.head.contains("retry-after: 1\r\n")
        && answer.head.contains("x-request-id: ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_gets_its_share_whatever_it_says_of_itself() {
    let options = StackOptions {
        limits: Limits::On,
        known_proxies: vec![PROXY.to_owned()],
        ..StackOptions::default()
    };
    let sale = Sale::start_as(options).await;
    let base = sale.stack.http();
    let other = |number: usize| format!("10.{}.{}.1", number / 256, number % 256);

    let answers = hurry(base, "127.0.0.1", other).await;
    let turned_away = refused(&answers);
    assert!((1..=REQUESTS - 200).contains(&turned_away.len()), "{}", turned_away.len());
    assert!(turned_away.iter().all(|a| is_too_many(a)), "{:?}", turned_away[0]);

    let answers = hurry(base, PROXY, other).await;
    assert!(refused(&answers).is_empty(), "a known proxy speaks for many: {:?}", answers.last());
    // What a client wrote itself stands before what the proxy added, and counts for nothing.
    let lied = |number: usize| format!("{}, 203.0.113.9", other(number));
    let answers = hurry(base, PROXY, lied).await;
    assert!(refused(&answers).iter().any(|a| is_too_many(a)), "{:?}", answers.last());

    networks_of_ipv6_are_counted_as_one(base).await;
    feeds_of_one_address_are_counted(base).await;
    let answers = hurry(base, "127.0.0.5", |_| "-".to_owned()).await;
    assert_eq!(answers[0].status, 200, "another address is not concerned");
    sale.stack.shutdown().await;
}

/// Networks of 64 bits, whatever nginx makes of their zeros.
const NETWORKS: [&str; 9] = [
    "2001:db8:1:2",
    "2001:db8:1:0",
    "2001:db8:0:0",
    "2001:0:0:0",
    "2001:0:0:2",
    "2001:0:1:0",
    "0:0:0:2",
    "0:0:1:2",
    "0:0:0:0",
];
/// Addresses in one, each of which alone would be let through so often.
const HOSTS: [&str; 5] = ["0:0:0:1", "1:2:3:4", "1:0:0:0", "1:0:0:4", "0:0:3:4"];

async fn networks_of_ipv6_are_counted_as_one(base: &str) {
    for network in NETWORKS {
        let forwarded = |number: usize| format!("{network}:{}", HOSTS[number % HOSTS.len()]);
        let answers = hurry(base, PROXY, forwarded).await;
        assert!(refused(&answers).iter().any(|a| is_too_many(a)), "all of {network} was let in");
    }
    let forwarded = |number: usize| format!("2001:db8:7:{:x}:0:0:0:1", number % 9);
    let answers = hurry(base, PROXY, forwarded).await;
    assert!(refused(&answers).is_empty(), "neighbours are not concerned: {:?}", answers.last());
    let answers = hurry(base, PROXY, |number| format!("::ffff:10.9.8.{}", number % 9)).await;
    assert!(refused(&answers).is_empty(), "IPv4 within IPv6 is IPv4: {:?}", answers.last());
}

async fn feeds_of_one_address_are_counted(base: &str) {
    let open = || async {
        // Slowly, so that it is not the rate that turns one away.
        tokio::time::sleep(PACE).await;
        let mut raw = Raw::connect_from(base, "127.0.0.4").await;
        raw.send(handshake("").as_bytes()).await;
        let answer = raw.answer().await.unwrap();
        (raw, answer)
    };
    let mut feeds = Vec::new();
    for number in 0..FEEDS_MAX {
        let (raw, answer) = open().await;
        assert_eq!(answer.status, 101, "feed {number}");
        feeds.push(raw);
    }
    let (_, answer) = open().await;
    assert!(is_too_many(&answer), "{answer:?}");
    feeds.pop();
    wait_until("a feed that ended makes room", || async { open().await.1.status == 101 }).await;
}
