//! How everything is: what every edge and settler says of itself once a second, and the frame this
//! edge makes of it for its viewers.
//!
//! Owns the newest contributions and the encoded frame; leaves Pub/Sub to the feed's subscriber and
//! sockets to `feed`. Nothing is stored in Redis, and nobody waits for any of it.
//! Invariant: a frame is encoded once a second, and only while somebody views it.

mod history;
mod latency;
mod merge;
mod speak;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::contract::rfc3339;
use domain::contract::socket::ServerMessage;
use domain::contract::stats::Contribution;
use tokio::sync::watch;

use merge::Processes;

pub use speak::Speaker;

/// How often the log says that somebody publishes what cannot be read.
const COMPLAIN_EVERY: Duration = Duration::from_secs(600);

/// What is known, and who views it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    known: Arc<Mutex<Known>>,
    /// The newest frame, encoded once; a viewer that is slow skips some.
    frames: Arc<watch::Sender<Bytes>>,
}

#[derive(Debug, Default)]
struct Known {
    processes: Processes,
    complained: Option<Instant>,
}

impl Stats {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what Pub/Sub delivered.
    pub fn take(&self, payload: &[u8], now: Instant) {
        let contribution = Contribution::parse(payload);
        let mut known = self.lock();
        match contribution {
            Some(contribution) => known.processes.take(contribution, now),
            None if known.may_complain(now) => {
                tracing::warn!(
                    bytes = payload.len(),
                    "a contribution to the stats that no program of this version published"
                );
            }
            None => {}
        }
    }

    /// Takes what this edge says of itself, which must not depend on Redis.
    fn take_own(&self, contribution: Contribution, now: Instant) {
        self.lock().processes.take(contribution, now);
    }

    /// A frame a second, for as long as it is held.
    pub fn view(&self) -> watch::Receiver<Bytes> {
        self.frames.subscribe()
    }

    /// Shows viewers how everything is, if there are any.
    fn show(&self, now_ms: i64, now: Instant) {
        if self.frames.receiver_count() == 0 {
            return;
        }
        let frame = self.lock().processes.frame(rfc3339::from_ms(now_ms), now);
        self.frames.send_replace(Bytes::from(ServerMessage::Stats(&frame).to_json()));
    }
}

impl Known {
    fn may_complain(&mut self, now: Instant) -> bool {
        let since = self.complained.map(|at| now.saturating_duration_since(at));
        let may = since.is_none_or(|since| since >= COMPLAIN_EVERY);
        if may {
            self.complained = Some(now);
        }
        may
    }
}
