//! Starting without servers, stopping under load, and buyers who hang up.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fixture::{Sale, wait_until};
use crate::raw::{Raw, ask, buy_bytes};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_server_it_lives_says_what_is_missing_and_sells_nothing() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, nobody) = (free(), free());
    let mut edge = Command::new(env!("CARGO_BIN_EXE_edge"))
        .arg("run")
        .env("HTTP_ADDR", address.to_string())
        .env("REDIS_URL", format!("redis://{nobody}"))
        .env("AMQP_URL", format!("amqp://{nobody}/%2f"))
        .env("DATABASE_URL", format!("postgresql://nobody@{nobody}/none"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the edge listens", || async {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    let base = format!("http://{address}");
    assert_eq!(ask(&base, &get("/livez")).await.unwrap().status, 200);
    let missing = ask(&base, &get("/readyz")).await.unwrap();
    assert_eq!(missing.status, 503);
    let refused = ask(&base, &buy_bytes(1)).await.unwrap();
    assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"));
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    let asked = Command::new(env!("CARGO_BIN_EXE_edge"))
        .arg("healthcheck")
        .env("HTTP_ADDR", address.to_string())
        .output()
        .unwrap();
    assert!(!asked.status.success());
    let report = String::from_utf8(asked.stdout).unwrap();
    assert!(report.contains("broker missing") && report.contains("redis missing"), "{report}");
    // SIGTERM ends it at once: there is nothing to wait for.
    let pid = edge.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(edge.wait().unwrap().success());
}

#[test]
fn a_malformed_setting_is_named_and_ends_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_edge"))
        .arg("run")
        .env("REDIS_URL", "http://127.0.0.1")
        .env("AMQP_URL", "amqp://127.0.0.1")
        .env("DATABASE_URL", "postgresql://127.0.0.1/x")
        .env("HTTP_ADDR", "127.0.0.1:0")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("REDIS_URL"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buyers_who_hang_up_strand_nothing() {
    const BUYERS: u64 = 100;
    let sale = Sale::start().await;
    for user in 1..=BUYERS {
        let mut raw = Raw::connect(&sale.edge).await;
        raw.send(&buy_bytes(user)).await;
        drop(raw);
    }
    // Whoever was reserved for is settled, and is told so when asking again; the rest buy now.
    let mut ids = std::collections::BTreeSet::new();
    for user in 1..=BUYERS {
        let answer = ask(&sale.edge, &buy_bytes(user)).await.unwrap();
        assert!(matches!(answer.status, 202 | 409), "user {user}: {answer:?}");
        ids.insert(answer.body["reservation_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 100);
    wait_until("all are settled", || async {
        sale.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await == 100
    })
    .await;
    assert_eq!(sale.available().await, 900, "I4: reserved exactly once each");
    assert_eq!(sale.number("SELECT stock FROM products WHERE id = 1").await, 900);
    sale.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_answers_what_it_read_and_loses_nothing() {
    let sale = Sale::start().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut buyers = tokio::task::JoinSet::new();
    for worker in 0..8_u64 {
        let (edge, over) = (sale.edge.clone(), over.clone());
        buyers.spawn(async move {
            let mut accepted = 0;
            let mut raw = Raw::connect(&edge).await;
            for number in 0..100 {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                raw.send(&buy_bytes(worker * 1000 + number + 1)).await;
                // Between two requests the edge may close; an answer is never cut off, nor a 5xx.
                match raw.answer().await {
                    Some(answer) => assert_eq!(answer.status, 202, "{answer:?}"),
                    None => break,
                }
                accepted += 1;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            accepted
        });
    }
    wait_until("the sale runs", || async { sale.available().await < 950 }).await;
    sale.stack.kill("edge-1", "TERM").await.unwrap();
    over.store(true, Ordering::Relaxed);
    let accepted: i64 = buyers.join_all().await.into_iter().sum();
    wait_until("every 202 is settled", || async {
        sale.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await >= accepted
    })
    .await;
    // Reserved and not answered: a request that was sent while the edge closed.
    wait_until("nothing is in between", || async {
        let settled = sale.number("SELECT 1000 - stock FROM products WHERE id = 1").await;
        settled == 1000 - sale.available().await
    })
    .await;
    sale.stack.shutdown().await;
}
