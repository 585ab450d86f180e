//! A real shop in which every example of the document can be asked for, and an edge without any
//! server, which has nothing to answer with.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stack::{Stack, StackOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::document::{Case, Sent};
use crate::buyer::{Ledger, get};
use crate::documents::program;
use crate::token::sign;
use crate::wait::wait_until;

/// Signs the tokens of the document's examples, among them that of user 999.
const BUYER_TOKEN_KEY: &str = "an example key, not a secret";
/// Longer than any answer of the document takes on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Products in every state a buyer may meet.
const PRODUCTS: &str = "INSERT INTO products \
    (id, name, price_minor, currency, stock, total, buyer_limit, state, opens_at) VALUES \
    (2, 'none left', 1, 'THB', 0, 0, 1, 'open', NULL), \
    (3, 'one left', 1, 'THB', 1, 1, 2, 'open', NULL), \
    (4, 'not yet', 1, 'THB', 9, 9, 1, 'open', '2099-11-23T12:00:00Z'), \
    (5, 'paused', 1, 'THB', 9, 9, 1, 'paused', NULL), \
    (6, 'over', 1, 'THB', 9, 9, 1, 'closed', NULL)";
/// The settled orders the document names.
const ORDERS: &str = "INSERT INTO orders \
    (id, product_id, user_id, quantity, epoch, seq, status, reason, reserved_at) VALUES \
    ('019ab3c4-7e1b-7c3d-8a21-000000000051', 1, 12351, 1, 1, 51, 'confirmed', NULL, now()), \
    ('019ab3c4-7e1b-7c3d-8a21-000000000052', 1, 12352, 1, 1, 52, 'rejected', \
     'already_purchased', now())";
/// The order no settler has seen yet.
const QUEUED: (&str, &str) = ("12353", "019ab3c4-7e1b-7c3d-8a21-000000000053|1|53");

/// Examples that another one has to come before.
const BEFORE: [(&str, &str); 3] = [
    ("already_purchased", "accepted"),
    ("replayed", "replayed"),
    ("idempotency_key_reused", "replayed"),
];

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The shop.
pub(crate) struct Shop {
    stack: Stack,
    cold: ColdEdge,
}

/// An edge whose servers are all away.
struct ColdEdge {
    process: Child,
    url: String,
}

impl ColdEdge {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program("edge"));
        command
            .arg("run")
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("AMQP_URL", "amqp://127.0.0.1:1/%2f")
            .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
            .stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for ColdEdge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        // The reconciler would find what is put there by hand.
        let env = [("BUYER_TOKEN_KEY", BUYER_TOKEN_KEY), ("SETTLER_RECONCILE_MS", "3600000")];
        let env = env.map(own).into();
        let options = StackOptions { edges: 1, env, ..StackOptions::default() };
        let stack = Stack::start(options).await.unwrap();
        let shop = Self { stack, cold: ColdEdge::start() };
        let ledger = Ledger::open(&shop.stack).await;
        ledger.execute(PRODUCTS).await;
        ledger.execute(ORDERS).await;
        shop.wait_loaded().await;
        let client = redis::Client::open(shop.stack.redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let (user, holder) = QUEUED;
        redis::cmd("HSET")
            .arg("buyers:{1}")
            .arg(user)
            .arg(holder)
            .exec_async(&mut redis)
            .await
            .unwrap();
        shop
    }

    async fn wait_loaded(&self) {
        let client = redis::Client::open(self.stack.redis_url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        for product in 2..=6 {
            wait_until("the product is listed and its sale is open", || {
                let mut redis = redis.clone();
                async move {
                    let path = format!("/api/products/{product}");
                    let listed = get(self.stack.http(), &path).await.unwrap().status == 200;
                    let mut vouched = redis::cmd("HEXISTS");
                    vouched.arg(format!("sale:{{{product}}}")).arg("vouch");
                    listed && vouched.query_async::<bool>(&mut redis).await.unwrap()
                }
            })
            .await;
        }
        wait_until("the cold edge serves", || async {
            get(&self.cold.url, "/livez").await.is_some()
        })
        .await;
    }

    /// Sends what a case describes, in the state it needs.
    pub(crate) async fn ask(&self, case: &Case<'_>, all: &[Case<'_>]) -> Answer {
        let before = BEFORE.iter().find(|(name, _)| *name == case.name);
        if let Some((_, before)) = before {
            let same =
                |other: &&Case<'_>| other.operation == case.operation && other.name == *before;
            self.send(self.stack.http(), &all.iter().find(same).unwrap().sent).await;
        }
        match case.name {
            "unavailable" => self.send(&self.cold.url, &case.sent).await,
            // nginx waits for a body longer than an edge does.
            "request_timeout" => self.send(&self.stack.url("edge-1").unwrap(), &case.sent).await,
            "outcome_unknown" => {
                self.stack.kill("redis", "STOP").await.unwrap();
                let answer = self.send(self.stack.http(), &case.sent).await;
                self.stack.kill("redis", "CONT").await.unwrap();
                answer
            }
            _ => self.send(self.stack.http(), &case.sent).await,
        }
    }

    /// The same path with another method.
    pub(crate) async fn ask_with(&self, sent: &Sent, method: &str) -> Answer {
        let sent = Sent { method: method.to_owned(), path: sent.path.clone(), ..Sent::default() };
        self.send(self.stack.http(), &sent).await
    }

    async fn send(&self, base: &str, sent: &Sent) -> Answer {
        let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(bytes_of(sent).as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(ANSWER_MAX, read_answer(&mut stream, &sent.method)).await;
        answer.unwrap_or_else(|_| panic!("no answer to {sent:?}"))
    }

    pub(crate) async fn close(self) {
        self.stack.shutdown().await;
    }
}

/// The bytes of a request, with a token where one may be needed and none is given.
fn bytes_of(sent: &Sent) -> String {
    let mut headers = sent.headers.clone();
    let has = |name: &str| sent.headers.iter().any(|(own, _)| own == name);
    if sent.security.as_deref() == Some("buyer_token") && !has("authorization") {
        let token = sign(BUYER_TOKEN_KEY, user_of(sent), 9_999_999_999);
        headers.push(("authorization".into(), format!("Bearer {token}")));
    }
    let body = sent.body.as_deref().unwrap_or_default();
    if sent.method != "GET" && sent.method != "HEAD" && !has("content-length") {
        headers.push(("content-length".into(), body.len().to_string()));
    }
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n{body}", sent.method, sent.path)
}

/// Whom a request is about: the body, or the locator of an order, says so.
fn user_of(sent: &Sent) -> i64 {
    let body = sent.body.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let named = body.and_then(|body| body["user_id"].as_i64());
    let located = || sent.path.split_once("?at=")?.1.split_once('.')?.1.parse().ok();
    named.or_else(located).unwrap_or(1)
}

async fn read_answer(stream: &mut TcpStream, method: &str) -> Answer {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "closed without an answer");
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut answer = Answer { status, headers: lines.filter_map(pair).collect(), body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    if method != "HEAD" && status != 101 {
        while read.len() < end + length {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "closed within an answer");
        }
        answer.body = read[end..].to_vec();
    }
    answer
}
