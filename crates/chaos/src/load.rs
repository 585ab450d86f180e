//! Buyers: they press, some twice, some hang up, and everything they are told is written down.
//!
//! Invariant: an attempt without a complete answer is unknown; nothing else is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Buyers at once.
const WORKERS: u64 = 48;
/// Longest wait for an answer: an edge answers within 2 s, nginx gives up after 10.
const ANSWER_MAX: Duration = Duration::from_secs(12);

/// Everything one user was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// Reservation id of a 202.
    pub(crate) accepted: Option<String>,
    /// Reservations of earlier 202s.
    pub(crate) accepted_before: Vec<String>,
    /// How many faults there had been at that moment.
    pub(crate) accepted_in: usize,
    /// Reservation id of a 409 for this user's own order.
    pub(crate) owns: Option<String>,
    /// Some attempt has no known outcome: cut off, 503 `OUTCOME_UNKNOWN`.
    pub(crate) unknown: bool,
    /// Told two different reservation ids.
    pub(crate) contradicted: bool,
}

/// What all buyers were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) users: HashMap<u64, User>,
    pub(crate) attempts: u64,
    pub(crate) sold_out: u64,
    pub(crate) turned_away: u64,
    /// Answers nobody should ever get: another 4xx, a 5xx that is no 503.
    pub(crate) strange: Vec<String>,
}

/// Counters the faults are measured by.
#[derive(Debug)]
pub(crate) struct Pulse {
    started: Instant,
    pub(crate) accepted: AtomicU64,
    pub(crate) unknown: AtomicU64,
    /// Faults so far.
    pub(crate) faults: AtomicUsize,
    /// Attempts whose answer is on its way: they may hold a unit already.
    under_way: AtomicU64,
    /// Accepted, unknown and under way together when somebody was first told "sold out".
    pub(crate) at_first_sold_out: AtomicU64,
    last_decided_ms: AtomicU64,
    silence_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            accepted: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            faults: AtomicUsize::new(0),
            under_way: AtomicU64::new(0),
            at_first_sold_out: AtomicU64::new(u64::MAX),
            last_decided_ms: AtomicU64::new(0),
            silence_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn decided(&self) {
        let now = self.now_ms();
        let before = self.last_decided_ms.fetch_max(now, Ordering::Relaxed);
        self.silence_ms.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    /// The longest time without a decided answer since this was last asked.
    pub(crate) fn take_silence_ms(&self) -> u64 {
        let now = self.now_ms();
        let open = now.saturating_sub(self.last_decided_ms.fetch_max(now, Ordering::Relaxed));
        self.silence_ms.swap(0, Ordering::Relaxed).max(open)
    }
}

/// Buyers who press until told to stop.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    pub(crate) pulse: Arc<Pulse>,
    workers: JoinSet<Told>,
}

impl Crowd {
    /// Starts buyers who press every `pause` each.
    pub(crate) fn start(http: &str, pause: Duration, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Pulse::new());
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let buyer = Buyer {
                authority: http.trim_start_matches("http://").to_owned(),
                dice: Rng::with_seed(seed ^ worker),
                next: worker + 1,
                connection: None,
                pulse: pulse.clone(),
                told: Told::default(),
            };
            workers.spawn(buyer.press_until(stop.clone(), pause));
        }
        Self { stop, pulse, workers }
    }

    /// Everything everybody was told.
    pub(crate) async fn go_home(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for told in self.workers.join_all().await {
            all.users.extend(told.users);
            all.attempts += told.attempts;
            all.sold_out += told.sold_out;
            all.turned_away += told.turned_away;
            all.strange.extend(told.strange);
        }
        all
    }
}

struct Buyer {
    authority: String,
    dice: Rng,
    next: u64,
    connection: Option<SendRequest<Full<Bytes>>>,
    pulse: Arc<Pulse>,
    told: Told,
}

impl Buyer {
    async fn press_until(mut self, stop: Arc<AtomicBool>, pause: Duration) -> Told {
        while !stop.load(Ordering::Relaxed) {
            let user = self.next;
            self.next += WORKERS;
            self.press(user).await;
            // One in six asks again: it must hear of the same reservation.
            if self.dice.u64(0..=5) == 0 {
                self.press(user).await;
            }
            tokio::time::sleep(pause).await;
        }
        self.told
    }

    async fn press(&mut self, user: u64) {
        self.pulse.under_way.fetch_add(1, Ordering::SeqCst);
        self.press_once(user).await;
        self.pulse.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    async fn press_once(&mut self, user: u64) {
        self.told.attempts += 1;
        // One in fifty hangs up in the middle.
        let patience = if self.dice.u64(0..=49) == 0 {
            Duration::from_millis(self.dice.u64(0..=3))
        } else {
            ANSWER_MAX
        };
        let answer = match tokio::time::timeout(patience, self.ask(user)).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => {
                self.connection = None;
                self.note_unknown(user);
                return;
            }
        };
        self.note(user, answer.0, &answer.1);
    }

    async fn ask(&mut self, user: u64) -> Option<(u16, Value)> {
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(&self.authority).await?,
        };
        connection.ready().await.ok()?;
        let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
        let request = Request::post("/api/buy")
            .header("host", self.authority.as_str())
            .header("content-type", "application/json")
            .body(Full::from(body))
            .ok()?;
        let response = connection.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        self.connection = Some(connection);
        Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    fn note_unknown(&mut self, user: u64) {
        let known = self.told.users.entry(user).or_default();
        if !known.unknown && known.accepted.is_none() {
            self.pulse.unknown.fetch_add(1, Ordering::SeqCst);
        }
        known.unknown = true;
    }

    fn note(&mut self, user: u64, status: u16, body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let id = text("reservation_id").to_owned();
        let known = self.told.users.entry(user).or_default();
        match (status, text("code")) {
            (202, _) => {
                self.pulse.accepted.fetch_add(1, Ordering::SeqCst);
                known.contradicted |= known.accepted.as_ref().is_some_and(|before| *before != id);
                match known.accepted.replace(id) {
                    None => known.accepted_in = self.pulse.faults.load(Ordering::Relaxed),
                    // Each 202 is a promise of its own.
                    Some(before) => known.accepted_before.push(before),
                }
                self.pulse.decided();
            }
            (409, "ALREADY_PURCHASED") => {
                known.owns = Some(id);
                self.pulse.decided();
            }
            (400, "SOLD_OUT") => {
                self.told.sold_out += 1;
                let pulse = &self.pulse;
                // In this order: whoever is not under way any more is counted by then.
                let counters = [&pulse.under_way, &pulse.accepted, &pulse.unknown];
                let reserved = counters.iter().map(|counter| counter.load(Ordering::SeqCst)).sum();
                pulse.at_first_sold_out.fetch_min(reserved, Ordering::Relaxed);
                pulse.decided();
            }
            (503, "UNAVAILABLE") => self.told.turned_away += 1,
            (503, _) => self.note_unknown(user),
            (status, code) => self.told.strange.push(format!("user {user}: {status} {code}")),
        }
    }
}

async fn connect(authority: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(authority).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}
