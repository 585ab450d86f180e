//! Requests as bytes, answers as they come: nothing between the test and the socket is polite.
//!
//! Invariant: a request is sent as its case says, with a token where one may be needed and none is
//! given.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::document::Sent;
use crate::token::sign;

/// Signs the tokens of the document's examples, among them that of user 999.
pub(crate) const BUYER_TOKEN_KEY: &str = "an example key, not a secret";
/// The operator's token.
pub(crate) const ADMIN_TOKEN: &str = "an operator's token";
/// Longer than any answer of the document takes on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

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

/// Sends a request to `http://host:port`.
pub(crate) async fn send(base: &str, sent: &Sent) -> Answer {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(bytes_of(sent).as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(ANSWER_MAX, read_answer(&mut stream, &sent.method)).await;
    answer.unwrap_or_else(|_| panic!("no answer to {sent:?}"))
}

/// The bytes of a request, with a token where one may be needed and none is given.
fn bytes_of(sent: &Sent) -> String {
    let mut headers = sent.headers.clone();
    let has = |name: &str| sent.headers.iter().any(|(own, _)| own == name);
    let token = match sent.security.as_deref() {
        Some("buyer_token") => Some(sign(BUYER_TOKEN_KEY, user_of(sent), 9_999_999_999)),
        Some("admin_token") => Some(ADMIN_TOKEN.to_owned()),
        _ => None,
    };
    if let Some(token) = token.filter(|_| !has("authorization")) {
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
