//! Secrets stand in the environment and in files only their owner reads, nowhere else.
//!
//! A whole run, with every answer an edge can give to a wrong and a right secret, is searched for
//! each of them: its logs, what it printed, and the command lines of its processes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use stack::{Stack, StackOptions};

use crate::buyer::{Ledger, send};
use crate::token::sign;
use crate::wait::wait_until;

const ADMIN_TOKEN: &str = "an-operators-token-nobody-may-see-5f1c";
const BUYER_TOKEN_KEY: &str = "a-key-of-buyers-nobody-may-see-8a3e";

async fn ask(base: &str, path: &str, bearer: &str, body: &str) -> u16 {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {bearer}"))
        .header("idempotency-key", "one")
        .body(Full::<Bytes>::from(body.to_owned()))
        .unwrap();
    send(base, request).await.unwrap().status.as_u16()
}

/// The password of the private servers, out of a URL.
fn password(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    let (user, _) = rest.rsplit_once('@').unwrap();
    user.split_once(':').unwrap().1.to_owned()
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Command lines of everything whose process group one of the stack leads.
fn command_lines(stack: &Stack) -> Vec<String> {
    let leaders: Vec<u32> = stack.status().processes.iter().map(|p| p.pid).collect();
    let mut lines = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let (Some(stat), Some(line)) = (read("stat"), read("cmdline")) else { continue };
        // Field 5 is the process group (proc(5)).
        let group =
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
        if group.is_some_and(|group| leaders.contains(&group)) {
            lines.push(line.replace('\0', " "));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_and_no_command_line_of_a_run_shows_a_secret() {
    let env = [
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("BUYER_TOKEN_KEY", BUYER_TOKEN_KEY),
        ("LOG_LEVEL", "edge=trace,settler=trace,service=trace,books=trace,info"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let stack = Stack::start(StackOptions { edges: 1, env, ..StackOptions::default() });
    let stack = stack.await.unwrap();
    let http = stack.http();
    let ledger = Ledger::open(&stack).await;
    let token = sign(BUYER_TOKEN_KEY, 7, 9_999_999_999);
    let press = r#"{"user_id":7,"product_id":1}"#;
    assert_eq!(ask(http, "/api/buy", &token, press).await, 202);
    assert_eq!(ask(http, "/api/buy", ADMIN_TOKEN, press).await, 401);
    let pause = "/api/admin/products/1/pause";
    assert_eq!(ask(http, pause, ADMIN_TOKEN, "").await, 200);
    assert_eq!(ask(http, pause, &token, "").await, 401);
    wait_until("the order is settled", || async { ledger.owners().await.len() == 1 }).await;
    // Every way in which a program complains of a server.
    for server in ["redis", "rabbitmq", "postgres"] {
        stack.kill(server, "KILL").await.unwrap();
    }
    let says = |process: &str, word: &str| {
        let log = std::fs::read_to_string(stack.dir().join(format!("logs/{process}.log"))).unwrap();
        log.to_lowercase().contains(word)
    };
    wait_until("the programs have complained", || async {
        says("edge-1", "warn") && says("settler-1", "warn")
    })
    .await;
    stack.wait_ready().await.unwrap();

    let password = password(stack.database_url());
    let secrets = [ADMIN_TOKEN, BUYER_TOKEN_KEY, &password, token.rsplit('.').next().unwrap()];
    let lines = command_lines(&stack);
    assert!(lines.iter().any(|line| line.contains("edge run")), "{lines:?}");
    let mut logs = Vec::new();
    files(&stack.dir().join("logs"), &mut logs);
    files(&stack.dir().join("rabbitmq"), &mut logs);
    logs.retain(|path| path.extension().is_some_and(|e| e == "log") && !path.ends_with("wal"));
    assert!(logs.len() >= 6, "{logs:?}");
    for secret in secrets {
        for line in &lines {
            assert!(!line.contains(secret), "{secret} is in a command line: {line}");
        }
        for log in &logs {
            let text = std::fs::read(log).unwrap();
            let text = String::from_utf8_lossy(&text);
            let shown = text.lines().find(|line| line.contains(secret));
            assert_eq!(shown, None, "{secret} is in {}", log.display());
        }
    }
    stack.shutdown().await;
}
