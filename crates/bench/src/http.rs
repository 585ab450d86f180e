//! The leanest HTTP/1.1 client that can press Buy: one connection, one request at a time, no
//! library, so that measuring costs little beside what is measured.
//!
//! It reads only answers with a Content-Length, which is all that nginx and an edge send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Longest wait for an answer; nginx gives up after 10 s.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The reservation a 202 or a 409 names.
    pub(crate) fn reservation(&self) -> Option<Uuid> {
        let name = b"\"reservation_id\":\"";
        let at = self.body.windows(name.len()).position(|window| window == name)? + name.len();
        Uuid::try_parse_ascii(self.body.get(at..at + 36)?).ok()
    }
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    text: String,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), text: String::new() })
    }

    /// `POST /api/buy`.
    pub(crate) async fn buy(&mut self, user: i64, product: i64) -> anyhow::Result<Answer> {
        use std::fmt::Write;
        let body = format!("{{\"user_id\":{user},\"product_id\":{product}}}");
        self.text.clear();
        write!(
            self.text,
            "POST /api/buy HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        self.ask().await
    }

    /// `GET path`.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.text = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.ask().await
    }

    async fn ask(&mut self) -> anyhow::Result<Answer> {
        tokio::time::timeout(ANSWER_MAX, async {
            self.stream.write_all(self.text.as_bytes()).await?;
            self.read().await
        })
        .await
        .context("no answer in time")?
    }

    async fn read(&mut self) -> anyhow::Result<Answer> {
        self.buffer.clear();
        loop {
            if let Some((status, head, length)) = parse_head(&self.buffer)? {
                let end = head + length;
                ensure!(end <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
                while self.buffer.len() < end {
                    self.read_more().await?;
                }
                return Ok(Answer { status, body: self.buffer[head..end].to_vec() });
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
        Ok(())
    }
}

/// Status, length of the head, length of the body; `None` while the head is incomplete.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some((status, end + 4, length))),
        _ => bail!("an answer without status or length: {head}"),
    }
}

/// One `GET` on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    Connection::open(address).await?.get(path).await
}

/// The address in a URL such as `http://127.0.0.1:8080`.
pub(crate) fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    url.trim_start_matches("http://").parse().with_context(|| format!("no address: {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"HTTP/1.1 202 Accepted\r\nServer: nginx\r\ncontent-length: 17\r\n\r\n{\"x\":1}";
        assert_eq!(parse_head(text).unwrap(), Some((202, 60, 17)));
        assert_eq!(parse_head(&text[..59]).unwrap(), None);
        assert!(parse_head(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
        assert!(parse_head(b"SSH-2.0\r\ncontent-length: 1\r\n\r\n").is_err());
    }

    #[test]
    fn the_reservation_is_found_in_the_body() {
        let id = Uuid::from_u128(7);
        let body = format!("{{\"status\":\"queued\",\"reservation_id\":\"{id}\"}}").into_bytes();
        assert_eq!(Answer { status: 202, body }.reservation(), Some(id));
        let body = b"{\"reservation_id\":\"7\"}".to_vec();
        assert_eq!(Answer { status: 202, body }.reservation(), None);
    }
}
