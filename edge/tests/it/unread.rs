//! F22, the one a limit of silence does not find: a feed client that goes on sending pings and
//! reads nothing. Its answers fill what the kernel holds for it, and a write that is stuck ends it.

use std::time::{Duration, Instant};

use crate::fixture::{DEADLINE, Sale, wait_until};
use crate::fuzz::clients;
use crate::raw::Raw;
use crate::socket::{PING, frame, handshake};

/// Between two pings: an edge that finds 33 of them at once takes them for a flood.
const PACE: Duration = Duration::from_millis(5);
/// Pings that brought no answer: the write is stuck. In less time than an edge waits for that.
const STUCK: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pings_and_never_reads_is_dropped_for_its_stuck_write() {
    // Neither its silence nor an answer of HTTP that is left unread ends it within this test.
    let sale =
        Sale::start_with(&[("EDGE_SILENCE_MS", "3600000"), ("EDGE_IDLE_MS", "3600000")]).await;
    let mut raw = Raw::connect_small(&sale.edge).await;
    raw.send(handshake("").as_bytes()).await;
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(101));
    let ping = frame(0x80 | PING, &[b'x'; 125]);
    let (mut most, mut stuck) = (0, 0);
    let started = Instant::now();
    while stuck < STUCK {
        assert!(started.elapsed() < 2 * DEADLINE, "{most} bytes were unread at most");
        raw.send(&ping).await;
        tokio::time::sleep(PACE).await;
        let unread = raw.unread();
        stuck = if unread > 0 && unread <= most { stuck + 1 } else { 0 };
        most = most.max(unread);
    }
    assert_eq!(clients(&sale.edge).await, 1, "it was no flood that ended it");
    wait_until("the client is dropped", || async { clients(&sale.edge).await == 0 }).await;
    sale.stack.shutdown().await;
}
