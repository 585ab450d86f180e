//! F25: an edge whose clock is wrong. Sales open and close by the time of Redis.

use std::time::{SystemTime, UNIX_EPOCH};

use stack::{Stack, StackOptions};

use crate::buyer::{Answer, Ledger, buy, get};
use crate::wait::wait_until;

const HOUR: i64 = 3600;
/// Further from the true time than any test takes, nearer than the edges' clocks.
const HALF_AN_HOUR: i64 = HOUR / 2;

/// Where libfaketime of this machine is.
fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file())
        .expect("libfaketime is not installed: `stack install --tests`")
        .display()
        .to_string()
}

/// Edges of these servers whose wall clock is off by so much.
async fn off_by(servers: &Stack, seconds: i64) -> Stack {
    let url = |url: &str| Some(url.to_owned());
    let env = [
        ("LD_PRELOAD", library()),
        ("FAKETIME", format!("{seconds:+}")),
        // Timers go on as they do.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let options = StackOptions {
        edges: 1,
        settlers: 0,
        redis_url: url(servers.redis_url()),
        amqp_url: url(servers.amqp_url()),
        database_url: url(servers.database_url()),
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        ..StackOptions::default()
    };
    Stack::start(options).await.unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// How far an edge's own clock is off, by the `Date` it sends.
async fn skew(edge: &str) -> i64 {
    let answer = get(edge, "/livez").await.unwrap();
    let date = answer.headers["date"].to_str().unwrap().to_owned();
    let output =
        std::process::Command::new("date").args(["-u", "-d", &date, "+%s"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse::<i64>().unwrap() - now()
}

fn told(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.text("code"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_follows_redis_time_whatever_an_edge_thinks_it_is() {
    let options = StackOptions { edges: 0, ..StackOptions::default() };
    let servers = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&servers).await;
    let (early, late) = (off_by(&servers, -HOUR).await, off_by(&servers, HOUR).await);
    let doors = [early.url("edge-1").unwrap(), late.url("edge-1").unwrap()];
    for (door, expected) in doors.iter().zip([-HOUR, HOUR]) {
        let skew = skew(door).await;
        assert!((skew - expected).abs() < 60, "the clock is off by {skew} s");
    }
    let mut user = 0;
    let windows = [
        ("open for half an hour yet", -HALF_AN_HOUR, HALF_AN_HOUR, "open"),
        ("opens in half an hour", HALF_AN_HOUR, HOUR + HALF_AN_HOUR, "scheduled"),
        ("closed half an hour ago", -HOUR - HALF_AN_HOUR, -HALF_AN_HOUR, "closed"),
    ];
    for (what, opens, closes, state) in windows {
        set_window(&servers, opens, closes).await;
        for door in &doors {
            wait_until(&format!("{what}: {door} shows {state}"), || async {
                get(door, "/api/products/1").await.unwrap().text("state") == state
            })
            .await;
            user += 1;
            let answer = buy(door, user).await.unwrap();
            let bought = answer.status == 202;
            assert_eq!(bought, state == "open", "{what}: {:?}", told(&answer));
        }
    }
    wait_until("the two are settled", || async { ledger.owners().await.len() == 2 }).await;
    for stack in [early, late, servers] {
        stack.shutdown().await;
    }
}

/// Sets the window in seconds from now, as an operator does.
async fn set_window(servers: &Stack, opens: i64, closes: i64) {
    let at = |offset: i64| time_text(now() + offset);
    let output = std::process::Command::new(crate::documents::program("settler"))
        .args(["sale", "change", "1", "--opens-at", &at(opens), "--closes-at", &at(closes)])
        .env("REDIS_URL", servers.redis_url())
        .env("AMQP_URL", servers.amqp_url())
        .env("DATABASE_URL", servers.database_url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn time_text(seconds: i64) -> String {
    let mut date = std::process::Command::new("date");
    let output =
        date.args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
