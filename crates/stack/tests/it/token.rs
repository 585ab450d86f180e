//! Buyer tokens: made as the README says, asked for by real edges.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use stack::{Stack, StackOptions};

use crate::buyer::{Answer, Ledger, buy, get, send};
use crate::dockerfile::read;
use crate::documents::program;

const KEY: &str = "correct horse battery staple";

/// A token made by the README's commands.
pub(crate) fn sign(key: &str, user: i64, expires: u64) -> String {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```sh\nuser=").expect("the README makes a token");
    let (commands, _) = rest.split_once("```").unwrap();
    let (_, commands) = commands.split_once('\n').unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-euc", commands]).env("BUYER_TOKEN_KEY", key);
    shell.env("user", user.to_string()).env("expires", expires.to_string());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600
}

async fn buy_with(base: &str, user: u64, headers: &[&str]) -> Answer {
    let mut request = Request::post("/api/buy")
        .header("host", "localhost")
        .header("content-type", "application/json");
    for header in headers {
        request = request.header("authorization", *header);
    }
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    send(base, request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
}

#[test]
fn the_readme_makes_the_token_of_its_example() {
    let readme = read("README.md");
    let token = sign("an example key, not a secret", 999, 9_999_999_999);
    assert!(token.starts_with("999.9999999999."));
    assert!(readme.contains(&token), "{token}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_bearer_of_a_users_token_buys_for_that_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let env = vec![("BUYER_TOKEN_KEY_FILE".to_owned(), file.display().to_string())];
    let stack = Stack::start(StackOptions { env, ..StackOptions::default() }).await.unwrap();
    let http = stack.http();
    let token = |key: &str, user, expires| format!("Bearer {}", sign(key, user, expires));
    let good = token(KEY, 7, in_an_hour());
    let refused: [&[&str]; 5] = [
        &[],
        &["Bearer x"],
        &[&token(KEY, 7, in_an_hour() - 7200)],
        &[&token("another key of enough bytes", 7, in_an_hour())],
        &[&good.replace(" 7.", " 8.")],
    ];
    for (number, headers) in refused.into_iter().enumerate() {
        let answer = buy_with(http, 7, headers).await;
        let told = (answer.status.as_u16(), answer.text("code"));
        assert_eq!(told, (401, "INVALID_TOKEN"), "case {number}: {answer:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    // nginx refuses two of them by itself.
    let twice = buy_with(&stack.url("edge-1").unwrap(), 7, &[&good, &good]).await;
    assert_eq!((twice.status.as_u16(), twice.text("code")), (401, "INVALID_TOKEN"));
    let foreign = buy_with(http, 8, &[&good]).await;
    assert_eq!((foreign.status.as_u16(), foreign.text("code")), (403, "FOREIGN_USER"));
    let product = get(http, "/api/products/1").await.unwrap();
    assert_eq!(product.status, 200, "looking is free");
    assert_eq!(product.body["available"], 1000, "I12: nothing was reserved");
    assert_eq!(buy_with(http, 7, &[&good]).await.status, 202);
    let ledger = Ledger::open(&stack).await;
    crate::wait::wait_until("the order is settled", || async {
        ledger.owners().await.into_iter().eq([7])
    })
    .await;
    stack.shutdown().await;
}

#[test]
fn a_key_that_could_be_guessed_or_is_not_there_is_refused_at_start() {
    let run = |name: &str, value: &str| {
        let mut edge = Command::new(program("edge"));
        edge.args(["run", "--http-addr", "127.0.0.1:0"]).env(name, value);
        for server in ["REDIS_URL", "AMQP_URL", "DATABASE_URL"] {
            edge.env(server, if server == "AMQP_URL" { "amqp://127.0.0.1:1" } else { "redis://h" });
        }
        edge.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none");
        let output = edge.output().unwrap();
        assert!(!output.status.success(), "{name}={value}");
        String::from_utf8(output.stderr).unwrap()
    };
    for short in ["", "fifteen bytes, ."] {
        let said = run("BUYER_TOKEN_KEY", &short[..short.len().min(15)]);
        assert!(said.contains("BUYER_TOKEN_KEY needs at least 16 bytes"), "{said}");
    }
    let said = run("BUYER_TOKEN_KEY_FILE", "/nowhere/key");
    assert!(said.contains("/nowhere/key"), "{said}");
    let mut help = Command::new(program("edge"));
    help.args(["run", "--help"]).env("BUYER_TOKEN_KEY", "a secret of sixteen and more");
    let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
    assert!(help.contains("BUYER_TOKEN_KEY") && !help.contains("sixteen and more"), "{help}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nobody_needs_a_token() {
    let stack = Stack::start(StackOptions { edges: 1, ..StackOptions::default() }).await.unwrap();
    assert_eq!(buy(stack.http(), 7).await.unwrap().status, 202);
    assert_eq!(buy_with(stack.http(), 8, &["Bearer whatever"]).await.status, 202);
    stack.shutdown().await;
}
