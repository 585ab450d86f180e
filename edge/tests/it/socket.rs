//! The feed as clients that keep, break and abuse the protocol meet it (RFC 6455).

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::Sale;
use crate::raw::{Raw, ask, buy_bytes};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
const PONG: u8 = 10;

/// A good handshake, with more headers.
pub(crate) fn handshake(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: shop.example\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A masked frame; the mask is zero, so the payload can be read in a failure.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(0x80 | length),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

struct Client(Raw);

impl Client {
    async fn connect(edge: &str) -> Self {
        let mut raw = Raw::connect(edge).await;
        raw.send(handshake("").as_bytes()).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 101);
        // RFC 6455, section 1.3, gives the answer to this key.
        assert!(answer.head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
        Self(raw)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.send(bytes).await;
    }

    /// Opcode and payload of the next frame; `None` when the connection ends.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.0.read_exactly(2).await?;
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let bytes = self.0.read_exactly(2).await?;
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            length => usize::from(length),
        };
        Some((head[0] & 0x0f, self.0.read_exactly(length).await?))
    }

    /// The next message of this type.
    async fn message(&mut self, kind: &str) -> Value {
        loop {
            let (opcode, payload) = self.frame().await.expect("the connection goes on");
            if opcode != TEXT {
                continue;
            }
            let value: Value = serde_json::from_slice(&payload).unwrap();
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// The code the server closes with; `None` when it just ends.
    async fn close_code(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == CLOSE {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_greets_follows_and_closes_with_the_right_code() {
    let sale = Sale::start().await;
    let edge = &sale.edge;
    who_may_connect(edge).await;

    let mut client = Client::connect(edge).await;
    assert_eq!(client.message("hello").await["protocol"], 1);
    let snapshot = client.message("snapshot").await;
    assert_eq!(snapshot["products"][0]["available"], 1000);
    client.send(&frame(0x80 | PING, b"still there?")).await;
    let (opcode, payload) = client.frame().await.unwrap();
    assert_eq!((opcode, payload.as_slice()), (PONG, b"still there?".as_slice()));

    let bought = ask(edge, &buy_bytes(1)).await.unwrap();
    let id = bought.body["reservation_id"].as_str().unwrap().to_owned();
    let watch = format!(r#"{{"type":"watch","reservation_id":"{id}"}}"#);
    client.send(&frame(0x80 | TEXT, watch.as_bytes())).await;
    let order = client.message("order").await;
    assert_eq!(
        (order["reservation_id"].as_str(), order["status"].as_str()),
        (Some(&*id), Some("confirmed"))
    );

    for nonsense in ["", "{}", r#"{"type":"watch"}"#, r#"{"type":"watch","reservation_id":"x"}"#] {
        client.send(&frame(0x80 | TEXT, nonsense.as_bytes())).await;
        assert_eq!(client.message("error").await["code"], "INVALID_MESSAGE", "{nonsense}");
    }
    nine_watches_are_one_too_many(&mut client).await;
    client.send(&frame(0x80 | CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(client.close_code().await, Some(1000));

    what_breaks_the_protocol_is_closed(edge).await;
    sale.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_clients_are_closed_and_abuse_takes_no_memory() {
    let env =
        [("EDGE_SILENCE_MS", "4500"), ("ALLOWED_ORIGINS", "https://shop.example,https://b.c")];
    let sale = Sale::start_with(&env).await;
    for (origin, status) in [("https://b.c", 101), ("https://b.c.evil", 403), ("http://b.c", 403)] {
        let origin = handshake(&format!("origin: {origin}\r\n"));
        assert_eq!(ask(&sale.edge, origin.as_bytes()).await.unwrap().status, status);
    }
    let (mut silent, mut lively) =
        (Client::connect(&sale.edge).await, Client::connect(&sale.edge).await);
    let closed = tokio::spawn(async move { silent.close_code().await });
    let mut after = 0;
    // Two more pings after the silent one was closed: whoever answers stays.
    let started = Instant::now();
    while after < 2 {
        assert!(started.elapsed() < Duration::from_secs(90), "the silent one is closed");
        let (opcode, _) = lively.frame().await.expect("who answers pings stays");
        assert_ne!(opcode, CLOSE, "who answers pings stays");
        if opcode == PING {
            after += usize::from(closed.is_finished());
            lively.send(&frame(0x80 | PONG, b"")).await;
        }
    }
    assert_eq!(closed.await.unwrap(), Some(1001));

    abuse(&sale.edge).await;
    let before = resident_kib(&sale);
    for _ in 0..4 {
        abuse(&sale.edge).await;
    }
    let grown = resident_kib(&sale).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more than after the first round");
    sale.stack.shutdown().await;
}

/// Two hundred clients at once, each with something that asks for memory.
async fn abuse(edge: &str) {
    let mut huge = frame(0x80 | TEXT, b"");
    huge[1] = 0x80 | 127;
    huge.splice(2..2, (1_u64 << 62).to_be_bytes());
    let fragments = [frame(TEXT, b"x"), frame(0, b"x").repeat(10_000)].concat();
    let pings = frame(0x80 | PING, &[b'x'; 125]).repeat(1000);
    let sent = [huge, fragments, pings, frame(0x80 | TEXT, &[b'x'; 60_000])];
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (edge, bytes) = (edge.to_owned(), sent[number % sent.len()].clone());
        clients.spawn(async move {
            let mut client = Client::connect(&edge).await;
            client.send(&bytes).await;
            client.close_code().await
        });
    }
    clients.join_all().await;
}

/// What the edge has in memory.
fn resident_kib(sale: &Sale) -> u64 {
    let processes = sale.stack.status().processes;
    let pid = processes.iter().find(|process| process.name == "edge-1").unwrap().pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

async fn who_may_connect(edge: &str) {
    let cases = [
        ("origin: http://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("origin: http://shop.example\r\n", 101),
    ];
    for (origin, status) in cases {
        assert_eq!(ask(edge, handshake(origin).as_bytes()).await.unwrap().status, status);
    }
    let old = handshake("").replace("version: 13", "version: 8");
    let answer = ask(edge, old.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 426);
    assert!(answer.head.contains("sec-websocket-version: 13"), "{}", answer.head);
    let keyless = handshake("").replace("dGhlIHNhbXBsZSBub25jZQ==", "");
    assert_eq!(ask(edge, keyless.as_bytes()).await.unwrap().status, 400);
    let plain = b"GET /ws HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    let answer = ask(edge, plain).await.unwrap();
    assert_eq!((answer.status, answer.code()), (426, "UPGRADE_REQUIRED"));
    assert!(answer.head.contains("upgrade: websocket"), "{}", answer.head);
}

async fn nine_watches_are_one_too_many(client: &mut Client) {
    for number in 0..9 {
        let id = uuid::Uuid::from_u128(number);
        let watch = format!(r#"{{"type":"watch","reservation_id":"{id}"}}"#);
        client.send(&frame(0x80 | TEXT, watch.as_bytes())).await;
    }
    assert_eq!(client.message("error").await["code"], "TOO_MANY_WATCHES");
}

async fn what_breaks_the_protocol_is_closed(edge: &str) {
    let mut oversize = frame(0x80 | TEXT, b"");
    oversize[1] = 0x80 | 127;
    oversize.splice(2..2, (1_u64 << 62).to_be_bytes());
    let flood: Vec<u8> = (0..1000).flat_map(|_| frame(0x80 | PING, b"x")).collect();
    let fragment = frame(TEXT, b"");
    let fragments = [fragment, frame(0, b"").repeat(10_000)].concat();
    let unmasked = |first: u8| vec![0x80 | first, 1, b'x'];
    let after_a_good_one = [frame(0x80 | PONG, b""), unmasked(TEXT)].concat();
    let cases: [(&str, Vec<u8>, u16); 14] = [
        ("unmasked text", unmasked(TEXT), 1002),
        ("unmasked ping", unmasked(PING), 1002),
        ("unmasked second", after_a_good_one, 1002),
        ("empty fragments", fragments, 1008),
        ("reserved bit", frame(0xc0 | TEXT, b"x"), 1002),
        ("reserved opcode", frame(0x80 | 3, b"x"), 1002),
        ("fragmented ping", frame(PING, b"x"), 1002),
        ("long ping", frame(0x80 | PING, &[b'x'; 126]), 1002),
        ("stray continuation", frame(0x80, b"x"), 1002),
        ("half a close code", frame(0x80 | CLOSE, b"x"), 1002),
        ("not UTF-8", frame(0x80 | TEXT, b"\xff"), 1007),
        ("binary", frame(0x80 | 2, b"x"), 1003),
        ("too large", frame(0x80 | TEXT, &[b'x'; 5000]), 1009),
        ("2^62 bytes", oversize, 1009),
    ];
    for (what, bytes, wanted) in cases {
        let mut client = Client::connect(edge).await;
        client.send(&bytes).await;
        assert_eq!(client.close_code().await, Some(wanted), "{what}");
        assert!(client.0.is_closed().await, "{what}: the connection ends");
    }
    // Read or refused, a flood of pings never takes the edge down.
    let mut client = Client::connect(edge).await;
    client.send(&flood).await;
    let code = client.close_code().await;
    assert_eq!(code, Some(1008), "a flood");
}
