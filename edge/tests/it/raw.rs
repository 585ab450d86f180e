//! A connection that sends exactly the bytes a test says, well-formed or not.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// A TCP connection to `http://host:port`.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
    patience: Duration,
}

impl Raw {
    pub(crate) async fn connect(base: &str) -> Self {
        let stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
        Self { stream, read: Vec::new(), patience: ANSWER_MAX }
    }

    /// The same, from another address of this machine.
    pub(crate) async fn connect_from(base: &str, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let to = base.strip_prefix("http://").unwrap().parse().unwrap();
        Self { stream: socket.connect(to).await.unwrap(), read: Vec::new(), patience: ANSWER_MAX }
    }

    /// The same, with as small a receive buffer as the kernel gives.
    pub(crate) async fn connect_small(base: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        let to = base.strip_prefix("http://").unwrap().parse().unwrap();
        Self { stream: socket.connect(to).await.unwrap(), read: Vec::new(), patience: ANSWER_MAX }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that refuses early may have closed: what it said is still read.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Bytes the server has handed to its kernel and this side has not taken (`/proc/net/tcp`,
    /// proc(5)).
    pub(crate) fn unread(&self) -> u64 {
        let (client, server) =
            (self.stream.local_addr().unwrap().port(), self.stream.peer_addr().unwrap().port());
        let ends = |address: &str, port| address.ends_with(&format!(":{port:04X}"));
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = sockets.find(|socket| ends(socket[1], server) && ends(socket[2], client));
        let queues = found.map_or("0:0".to_owned(), |socket| socket[4].to_owned());
        u64::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
    }

    /// Whether all of it went out; waits for a server that does not take it.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits for the server to end the connection, however long that takes, and sends `drip` over
    /// and over meanwhile; whether it ended without an answer but a refusal.
    pub(crate) async fn ends_by(&mut self, drip: Option<(&[u8], Duration)>) -> bool {
        let mut bytes = [0; 4096];
        let mut said = Vec::new();
        loop {
            let pause = drip.map_or(Duration::MAX, |(_, pause)| pause);
            match tokio::time::timeout(pause, self.stream.read(&mut bytes)).await {
                Ok(Ok(0) | Err(_)) => return said.is_empty() || said.starts_with(b"HTTP/1.1 408"),
                Ok(Ok(read)) => said.extend_from_slice(&bytes[..read]),
                Err(_) => self.send(drip.map_or(b"", |(bytes, _)| bytes)).await,
            }
        }
    }

    /// Everything up to and with `end`; `None` when the connection ends before.
    async fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return Some(self.read.drain(..at + end.len()).collect());
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(self.patience, self.stream.read(&mut bytes)).await;
        let length = read.expect("an answer in time").unwrap_or(0);
        self.read.extend_from_slice(&bytes[..length]);
        (length > 0).then_some(())
    }

    /// Exactly so many bytes; `None` when the connection ends before.
    pub(crate) async fn read_exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            self.read_more().await?;
        }
        Some(self.read.drain(..length).collect())
    }

    /// The next answer; `None` when the connection ends instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n").await?).unwrap();
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        let body = self.read_exactly(length).await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Some(Answer { status, head, body })
    }

    /// The next answer of a server that takes its time.
    pub(crate) async fn answer_within(&mut self, patience: Duration) -> Option<Answer> {
        self.patience = patience;
        self.answer().await
    }

    /// Whether the server has closed its side.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.read_more().await.is_none()
    }
}

/// One press of Buy as bytes.
pub(crate) fn buy_bytes(user: u64) -> Vec<u8> {
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let length = body.len();
    format!(
        "POST /api/buy HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends bytes on a connection of their own; the first answer.
pub(crate) async fn ask(base: &str, bytes: &[u8]) -> Option<Answer> {
    let mut raw = Raw::connect(base).await;
    raw.send(bytes).await;
    raw.answer().await
}
