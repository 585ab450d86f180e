//! WebSocket clients that watch the stock: raw frames over raw TCP, so that ten thousand fit beside
//! what they watch (RFC 6455).
//!
//! Invariant: what a client saw is kept with the time it was read, not the time it was meant for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Clients of one source address: below the number of its ports.
const CLIENTS_PER_ADDRESS: usize = 5000;
/// Handshakes at once: nginx's backlog is 511.
const OPENING_MAX: usize = 200;
/// Longest time for one handshake.
const OPEN_MAX: Duration = Duration::from_secs(20);
/// A pong without payload, masked with zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A value of the stock a client read, and when, in microseconds of the Unix epoch.
pub(crate) type Seen = (i64, i64);

/// Clients that are connected.
pub(crate) struct Crowd {
    clients: JoinSet<anyhow::Result<()>>,
    seen: Vec<Arc<Mutex<Vec<Seen>>>>,
}

impl Crowd {
    /// Connects so many clients that watch one product.
    ///
    /// # Errors
    /// When a client cannot connect.
    pub(crate) async fn open(
        address: SocketAddr,
        product: i64,
        count: usize,
    ) -> anyhow::Result<Self> {
        let mut crowd = Self { clients: JoinSet::new(), seen: Vec::new() };
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(OPENING_MAX) {
            let mut opening = JoinSet::new();
            for number in some {
                let source = source_of(*number)?;
                opening.spawn(tokio::time::timeout(OPEN_MAX, open(source, address)));
            }
            while let Some(opened) = opening.join_next().await {
                let stream = opened?.context("a handshake takes too long")??;
                let seen = Arc::new(Mutex::new(Vec::new()));
                crowd.seen.push(seen.clone());
                crowd.clients.spawn(watch(stream, product, seen));
            }
        }
        Ok(crowd)
    }

    /// Closes every connection; what each client saw, and how many had lost theirs before.
    pub(crate) fn close(mut self) -> (Vec<Vec<Seen>>, usize) {
        let mut lost = 0;
        while self.clients.try_join_next().is_some() {
            lost += 1;
        }
        self.clients.abort_all();
        let take = |seen: &Arc<Mutex<Vec<Seen>>>| {
            std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner))
        };
        (self.seen.iter().map(take).collect(), lost)
    }
}

fn source_of(number: usize) -> anyhow::Result<Ipv4Addr> {
    let address = 2 + number / CLIENTS_PER_ADDRESS;
    Ok(Ipv4Addr::new(127, 0, 0, u8::try_from(address).context("too many clients")?))
}

async fn open(source: Ipv4Addr, address: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let mut stream = socket.connect(address).await?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head are frames, and belongs to `watch`.
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 4096, "a head without end");
        head.push(stream.read_u8().await?);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Reads until the connection ends.
async fn watch(
    mut stream: TcpStream,
    product: i64,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> anyhow::Result<()> {
    thread_local! {
        // One a thread: ten thousand clients with a buffer each would be most of this program.
        static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 65_536]);
    }
    let mut rest: Vec<u8> = Vec::new();
    loop {
        stream.readable().await?;
        let read = BUFFER.with_borrow_mut(|buffer| {
            let read = stream.try_read(buffer)?;
            rest.extend_from_slice(&buffer[..read]);
            Ok::<_, std::io::Error>(read)
        });
        match read {
            Ok(0) => bail!("closed"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let at = now_micros();
        let mut used = 0;
        while let Some((opcode, payload, end)) = parse_frame(&rest[used..]) {
            match opcode {
                TEXT => note(payload, product, at, &seen),
                PING => stream.write_all(&PONG).await?,
                CLOSE => bail!("closed by the edge"),
                _ => {}
            }
            used += end;
        }
        rest.drain(..used);
        if rest.is_empty() {
            rest.shrink_to(1024);
        }
    }
}

fn note(payload: &[u8], product: i64, at: i64, seen: &Mutex<Vec<Seen>>) {
    let Some(stock) = stock_in(payload, product) else { return };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.last().is_none_or(|(last, _)| *last != stock) {
        seen.push((stock, at));
    }
}

/// The stock in a message about this product; `None` in any other.
fn stock_in(payload: &[u8], product: i64) -> Option<i64> {
    let text = std::str::from_utf8(payload).ok()?;
    let rest = text.strip_prefix("{\"type\":\"stock\",\"product_id\":")?;
    let (id, rest) = rest.split_once(',')?;
    if id.parse() != Ok(product) {
        return None;
    }
    rest.strip_prefix("\"stock\":")?.split(',').next()?.parse().ok()
}

/// Opcode, payload and length of the first frame; `None` while it is incomplete.
fn parse_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (4_usize, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        short => (2, usize::from(short)),
    };
    let end = start.checked_add(length)?;
    Some((first & 0x0f, bytes.get(start..end)?, end))
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_cut_where_they_end() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x81, 126, 1, 0];
        bytes.extend([b'x'; 256]);
        assert_eq!(parse_frame(&bytes), Some((TEXT, &b"hi"[..], 4)));
        let (opcode, payload, end) = parse_frame(&bytes[4..]).unwrap();
        assert_eq!((opcode, payload.len(), end), (TEXT, 256, 260));
        for cut in 4..bytes.len() {
            assert_eq!(parse_frame(&bytes[4..cut]), None);
        }
        assert_eq!(parse_frame(&[0x89, 0]), Some((PING, &b""[..], 2)));
    }

    #[test]
    fn only_the_stock_of_the_watched_product_is_noted() {
        let message = br#"{"type":"stock","product_id":7,"stock":42,"available":40}"#;
        assert_eq!(stock_in(message, 7), Some(42));
        assert_eq!(stock_in(message, 77), None);
        assert_eq!(stock_in(br#"{"type":"heartbeat"}"#, 7), None);
    }

    #[test]
    fn thousands_of_clients_spread_over_loopback_addresses() {
        assert_eq!(source_of(4999).unwrap(), Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(source_of(5000).unwrap(), Ipv4Addr::new(127, 0, 0, 3));
        assert!(source_of(2_000_000).is_err());
    }
}
