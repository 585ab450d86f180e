//! Frames nobody would send, to a real edge: it closes such a connection or goes on with it, keeps
//! nothing of it, and the next client is served.
//!
//! The seed is new each time and in every failure; `FUZZ_SEED` repeats a run.

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Sale, wait_until};
use crate::raw::{Raw, ask, buy_bytes};

const CONNECTIONS: u64 = 400;
/// The longest garbage of one connection.
const BYTES_MAX: usize = 6_000;
/// What an edge may hold more afterwards; frames claim up to 2^63 bytes.
const GROWTH_MAX: u64 = 32 << 20;
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\
                         connection: Upgrade\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const TEXTS: [&[u8]; 5] = [
    br#"{"type":"watch","reservation_id":"0190163d-8694-739b-aea5-966c26f8ad91"}"#,
    br#"{"type":"watch","reservation_id":""}"#,
    b"{}",
    b"\xff\xfe",
    b"",
];

/// A frame that is right, or wrong in any of its bytes.
fn frame(dice: &mut Rng) -> Vec<u8> {
    let payload = TEXTS[dice.usize(..TEXTS.len())];
    let opcodes = [0x81, 0x88, 0x89, 0x8a, 0x80, 0x01, 0x82, 0xc1, dice.u8(..)];
    let mut bytes = vec![opcodes[dice.usize(..opcodes.len())]];
    match dice.u8(..8) {
        0 => {
            bytes.push(0x80 | 127);
            bytes.extend(dice.u64(..).to_be_bytes());
        }
        1 => {
            bytes.push(0x80 | 126);
            bytes.extend(dice.u16(..).to_be_bytes());
        }
        _ => bytes.push(0x80 | u8::try_from(payload.len()).unwrap()),
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    if dice.bool() {
        let at = dice.usize(..bytes.len());
        bytes[at] = dice.u8(..);
    }
    bytes
}

fn garbage(dice: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.usize(1..60) {
        bytes.extend(frame(dice));
    }
    bytes.truncate(dice.usize(1..BYTES_MAX));
    bytes
}

/// Resident memory of the edge.
fn resident_bytes(sale: &Sale) -> u64 {
    let status = sale.stack.status();
    let pid = status.processes.iter().find(|process| process.name == "edge-1").unwrap().pid;
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// WebSocket clients an edge has.
pub(crate) async fn clients(edge: &str) -> u64 {
    let mut stream = TcpStream::connect(edge.trim_start_matches("http://")).await.unwrap();
    let question = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(question).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("flashsale_ws_clients "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_nobody_would_send_cost_nothing() {
    let seed =
        std::env::var("FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    let mut dice = Rng::with_seed(seed);
    let sale = Sale::start().await;
    let pid = || sale.stack.status().processes.iter().find(|p| p.name == "edge-1").unwrap().pid;
    let (before, process) = (resident_bytes(&sale), pid());
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::connect(&sale.edge).await;
        raw.send(HANDSHAKE.as_bytes()).await;
        assert_eq!(raw.answer().await.map(|a| a.status), Some(101), "FUZZ_SEED={seed}");
        raw.send(&garbage(&mut dice)).await;
    }
    wait_until(&format!("FUZZ_SEED={seed}: every client is gone"), || async {
        clients(&sale.edge).await == 0
    })
    .await;
    assert_eq!(pid(), process, "FUZZ_SEED={seed}: the edge died");
    let after = resident_bytes(&sale);
    assert!(after < before + GROWTH_MAX, "FUZZ_SEED={seed}: from {before} to {after} bytes");
    let bought = ask(&sale.edge, &buy_bytes(1)).await.map(|answer| answer.status);
    assert_eq!(bought, Some(202), "FUZZ_SEED={seed}");
    let log = std::fs::read_to_string(sale.stack.dir().join("logs/edge-1.log")).unwrap();
    assert!(!log.contains("panicked"), "FUZZ_SEED={seed}: a task panicked");
    sale.stack.shutdown().await;
}
