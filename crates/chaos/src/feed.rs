//! People who watch the stock over WebSocket through nginx while everything is killed (I10).
//!
//! Owns what each of them saw, and holds it to the truth, which it reads itself at the end.
//! Invariant: positions are compared within one connection; a new one starts from its snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;
use stack::Stack;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::judge::Verdict;

/// Watchers: one or two an edge.
const WATCHERS: usize = 5;
/// Pause before a watcher whose connection ended comes back.
const RECONNECT: Duration = Duration::from_millis(200);
/// How long after quiet everyone may take to see the truth.
const AGREE_MAX: Duration = Duration::from_secs(1);

/// What one frame said of product 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    epoch: i64,
    rev: i64,
    stock: i64,
    available: i64,
}

impl Position {
    /// Reads a product of a snapshot or a stock frame.
    fn read(value: &Value) -> Option<Self> {
        let number = |field: &str| value[field].as_i64();
        if number("product_id")? != 1 {
            return None;
        }
        Some(Self {
            epoch: number("epoch")?,
            rev: number("rev")?,
            stock: number("stock")?,
            available: number("available")?,
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    frames: AtomicU64,
    went_back: AtomicU64,
}

/// People who watch until this is dropped.
#[derive(Debug)]
pub(crate) struct Watchers {
    counts: Arc<Counts>,
    last_seen: Vec<watch::Receiver<Option<Position>>>,
    _tasks: JoinSet<()>,
}

impl Watchers {
    /// Everyone connects, and comes back whenever the connection ends.
    pub(crate) fn start(http: &str) -> Self {
        let url = format!("{}/ws", http.replace("http://", "ws://"));
        let counts = Arc::<Counts>::default();
        let (mut last_seen, mut tasks) = (Vec::new(), JoinSet::new());
        for _ in 0..WATCHERS {
            let (seen, receiver) = watch::channel(None);
            last_seen.push(receiver);
            tasks.spawn(watch_for_ever(url.clone(), seen, counts.clone()));
        }
        Self { counts, last_seen, _tasks: tasks }
    }

    /// Judges what was seen; all is quiet by now.
    pub(crate) async fn judge(&self, stack: &Stack) -> anyhow::Result<Verdict> {
        let deadline = Instant::now() + AGREE_MAX;
        let mut astray = self.astray(stack).await?;
        while astray > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            astray = self.astray(stack).await?;
        }
        let [frames, went_back] =
            [&self.counts.frames, &self.counts.went_back].map(|n| n.load(Ordering::Relaxed));
        Ok(Verdict {
            name: "I10 the feed never goes back",
            holds: astray == 0 && went_back == 0 && frames > 0,
            figures: format!(
                "{went_back} of {frames} frames, {astray} of {WATCHERS} watchers see something else"
            ),
        })
    }

    /// Watchers who do not see what is true now.
    async fn astray(&self, stack: &Stack) -> anyhow::Result<usize> {
        let truth = truth(stack).await?;
        Ok(self.last_seen.iter().filter(|seen| *seen.borrow() != Some(truth)).count())
    }
}

async fn truth(stack: &Stack) -> anyhow::Result<Position> {
    let client = redis::Client::open(stack.redis_url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let mut fields = redis::cmd("HMGET");
    fields.arg("sale:{1}").arg(&["epoch", "rev", "stock", "available"]);
    let (epoch, rev, stock, available) =
        fields.query_async(&mut redis).await.context("the sale is not in Redis")?;
    Ok(Position { epoch, rev, stock, available })
}

async fn watch_for_ever(url: String, seen: watch::Sender<Option<Position>>, counts: Arc<Counts>) {
    loop {
        if let Ok((mut socket, _)) = tokio_tungstenite::connect_async(url.as_str()).await {
            let mut highest = (0, 0);
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                let Some(position) = position_in(&text) else { continue };
                counts.frames.fetch_add(1, Ordering::Relaxed);
                let at = (position.epoch, position.rev);
                if at < highest {
                    counts.went_back.fetch_add(1, Ordering::Relaxed);
                }
                highest = highest.max(at);
                seen.send_replace(Some(position));
            }
            seen.send_replace(None);
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Where product 1 stands according to a message; `None` when it does not say.
fn position_in(text: &str) -> Option<Position> {
    let message: Value = serde_json::from_str(text).ok()?;
    match message["type"].as_str()? {
        "stock" => Position::read(&message),
        "snapshot" => message["products"].as_array()?.iter().find_map(Position::read),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_a_snapshot_and_from_a_frame() {
        let frame = r#"{"type":"stock","product_id":1,"stock":9,"available":8,"epoch":2,"rev":7}"#;
        let at = Position { epoch: 2, rev: 7, stock: 9, available: 8 };
        assert_eq!(position_in(frame), Some(at));
        let snapshot = format!(r#"{{"type":"snapshot","products":[{{"product_id":2}},{frame}]}}"#);
        assert_eq!(position_in(&snapshot), Some(at));
        assert_eq!(position_in(r#"{"type":"heartbeat"}"#), None);
    }
}
