//! The leanest Redis client that can keep a server busy: commands are appended to one buffer,
//! replies are counted and not decoded (RESP2).

use anyhow::{Context, bail, ensure};
use redis::IntoConnectionInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Values may nest this deep: a script's reply is an array.
const DEPTH_MAX: u32 = 8;

/// A connection with commands that wait to be sent.
#[derive(Debug)]
pub(crate) struct Pipe {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Pipe {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When Redis cannot be reached or refuses.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let info = url.into_connection_info()?;
        let stream = TcpStream::connect(info.addr().to_string()).await?;
        stream.set_nodelay(true)?;
        let mut pipe = Self { stream, out: Vec::new(), input: Vec::new() };
        if let Some(password) = info.redis_settings().password() {
            pipe.begin(2);
            pipe.arg(b"AUTH");
            pipe.arg(password.as_bytes());
            pipe.exchange(1).await?;
        }
        Ok(pipe)
    }

    /// Begins a command of so many arguments, its name included.
    pub(crate) fn begin(&mut self, arguments: usize) {
        self.out.push(b'*');
        self.number(arguments);
    }

    /// Appends one argument.
    pub(crate) fn arg(&mut self, bytes: &[u8]) {
        self.out.push(b'$');
        self.number(bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, number: usize) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{number}\r\n");
    }

    /// Sends what was appended and waits for so many replies.
    ///
    /// # Errors
    /// When the connection breaks or a reply is an error.
    pub(crate) async fn exchange(&mut self, replies: usize) -> anyhow::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        let mut at = 0;
        for _ in 0..replies {
            at = loop {
                if let Some(end) = end_of(&self.input, at, DEPTH_MAX)? {
                    break end;
                }
                ensure!(self.stream.read_buf(&mut self.input).await? > 0, "redis hung up");
            };
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// Where the value that begins at `at` ends; `None` while it is incomplete.
fn end_of(bytes: &[u8], at: usize, depth: u32) -> anyhow::Result<Option<usize>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else {
        return Ok(None);
    };
    let after = at + line + 2;
    let text = || std::str::from_utf8(&rest[1..line]).context("a reply that is no text");
    match rest[0] {
        b':' | b'+' => Ok(Some(after)),
        b'-' => bail!("redis refused: {}", text()?),
        b'$' => match text()?.parse::<i64>()? {
            -1 => Ok(Some(after)),
            length => {
                let end = after + usize::try_from(length)? + 2;
                Ok((end <= bytes.len()).then_some(end))
            }
        },
        b'*' => {
            ensure!(depth > 0, "a reply that is nested too deep");
            let mut end = after;
            for _ in 0..text()?.parse::<i64>()?.max(0) {
                let Some(next) = end_of(bytes, end, depth - 1)? else { return Ok(None) };
                end = next;
            }
            Ok(Some(end))
        }
        other => bail!("a reply that begins with {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_its_last_part_ends() {
        let reply = b"*3\r\n:0\r\n$3\r\na\r\n\r\n*1\r\n$-1\r\n:7\r\n";
        let end = reply.len() - 4;
        assert_eq!(end_of(reply, 0, 3).unwrap(), Some(end));
        assert_eq!(end_of(reply, end, 3).unwrap(), Some(reply.len()));
        for cut in 0..end {
            assert_eq!(end_of(&reply[..cut], 0, 3).unwrap(), None, "{cut}");
        }
        assert!(end_of(b"-NOSCRIPT\r\n", 0, 3).is_err());
        assert!(end_of(b"*1\r\n*1\r\n:1\r\n", 0, 1).is_err());
    }
}
