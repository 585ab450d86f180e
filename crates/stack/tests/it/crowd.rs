//! Buyers who keep pressing while something is broken, and what they were told.
//!
//! Whoever was told 202 must be in PostgreSQL, whoever was only ever refused must not, and whoever
//! got no answer may. Sales are larger than any crowd, so "sold out" is always false.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::buyer::Ledger;
use crate::wait::wait_until;

/// An edge answers within 2 s, nginx gives up after 10.
const ANSWER_MAX: Duration = Duration::from_secs(12);

/// What buyers were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Reservation id of a 202, by user.
    pub(crate) accepted: BTreeMap<u64, String>,
    /// Reservations of earlier 202s of the same users.
    accepted_before: Vec<String>,
    /// Whoever may or may not have bought: no answer, `OUTCOME_UNKNOWN`, or already purchased.
    pub(crate) unknown: BTreeSet<u64>,
    /// Whoever was told `UNAVAILABLE` at least once.
    pub(crate) turned_away: BTreeSet<u64>,
    /// Told two different reservation ids.
    pub(crate) contradicted: BTreeSet<u64>,
    /// The slowest answer.
    pub(crate) slowest: Duration,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.accepted_before.extend(other.accepted_before);
        self.unknown.extend(other.unknown);
        self.turned_away.extend(other.turned_away);
        self.contradicted.extend(other.contradicted);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// I3, I5, I6, I12: waits until every 202 has its order, then holds PostgreSQL against what was
    /// said; how many were rejected after a 202.
    pub(crate) async fn check(&self, ledger: &Ledger) -> usize {
        wait_until("every 202 has its order", || async {
            let orders = ledger.orders().await;
            let told = self.accepted.values().chain(&self.accepted_before);
            told.into_iter().all(|id| orders.contains_key(id))
        })
        .await;
        let owners = ledger.owners().await;
        let refused = self
            .turned_away
            .iter()
            .filter(|user| !self.accepted.contains_key(user) && !self.unknown.contains(user));
        for user in refused {
            assert!(!owners.contains(user), "I12: user {user} was refused, and bought");
        }
        ledger.assert_adds_up().await;
        let orders = ledger.orders().await;
        self.accepted.values().filter(|id| orders[*id] != "confirmed").count()
    }

    fn note(&mut self, user: u64, status: u16, body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let id = text("reservation_id").to_owned();
        match (status, text("code")) {
            (202, _) => {
                // Each 202 is a promise of its own.
                if let Some(before) = self.accepted.insert(user, id.clone()).filter(|b| *b != id) {
                    self.contradicted.insert(user);
                    self.accepted_before.push(before);
                }
            }
            (409, "ALREADY_PURCHASED") => match self.accepted.get(&user) {
                Some(known) if *known == id => {}
                Some(_) => _ = self.contradicted.insert(user),
                // The answer to an earlier press was lost.
                None => _ = self.unknown.insert(user),
            },
            (503, "UNAVAILABLE") => _ = self.turned_away.insert(user),
            (503, "OUTCOME_UNKNOWN") => _ = self.unknown.insert(user),
            (400, "SOLD_OUT") => panic!("false sold out: units remain"),
            other => panic!("user {user}: {other:?} {body}"),
        }
    }
}

/// Buyers who keep pressing until told to stop; one in ten asks again.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    workers: JoinSet<Told>,
}

impl Crowd {
    /// So many buyers at once, each with a pause between two presses.
    pub(crate) fn start(http: &str, buyers: u64, pause: Duration) -> Self {
        Self::of_product(http, 1, 1, buyers, pause)
    }

    /// The same for any product, and users from this one on.
    pub(crate) fn of_product(
        http: &str,
        product: u64,
        first_user: u64,
        buyers: u64,
        pause: Duration,
    ) -> Self {
        let (stop, accepted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let next = Arc::new(AtomicU64::new(first_user));
        let mut workers = JoinSet::new();
        for _ in 0..buyers {
            let mut buyer = Buyer {
                product,
                authority: http.trim_start_matches("http://").to_owned(),
                connection: None,
                told: Told::default(),
                accepted: accepted.clone(),
            };
            let (stop, next) = (stop.clone(), next.clone());
            workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let user = next.fetch_add(1, Ordering::Relaxed);
                    buyer.press(user).await;
                    if user.is_multiple_of(10) {
                        buyer.press(user).await;
                    }
                    tokio::time::sleep(pause).await;
                }
                buyer.told
            });
        }
        Self { stop, accepted, workers }
    }

    /// A crowd that leaves the machine room for what is tested: some two hundred presses a second.
    pub(crate) fn gentle(http: &str) -> Self {
        Self::start(http, 8, Duration::from_millis(40))
    }

    /// 202s so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until so many more were accepted: the system works.
    pub(crate) async fn accepts(&self, more: u64) {
        let before = self.accepted();
        wait_until("buyers are accepted", || async { self.accepted() >= before + more }).await;
    }

    /// Watches for so long; the longest time without a 202 in it.
    pub(crate) async fn longest_silence(&self, within: Duration) -> Duration {
        let started = Instant::now();
        let (mut last, mut seen, mut longest) = (started, self.accepted(), Duration::ZERO);
        while started.elapsed() < within {
            tokio::time::sleep(Duration::from_millis(10)).await;
            longest = longest.max(last.elapsed());
            if self.accepted() != seen {
                (last, seen) = (Instant::now(), self.accepted());
            }
        }
        longest
    }

    pub(crate) async fn go_home(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for told in self.workers.join_all().await {
            all.add(told);
        }
        all
    }
}

struct Buyer {
    product: u64,
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    told: Told,
    accepted: Arc<AtomicU64>,
}

impl Buyer {
    async fn press(&mut self, user: u64) {
        let started = Instant::now();
        let answer = tokio::time::timeout(ANSWER_MAX, self.ask(user)).await;
        self.told.slowest = self.told.slowest.max(started.elapsed());
        let Ok(Some((status, body))) = answer else {
            self.connection = None;
            self.told.unknown.insert(user);
            return;
        };
        self.told.note(user, status, &body);
        if status == 202 {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn ask(&mut self, user: u64) -> Option<(u16, Value)> {
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(&self.authority).await?,
        };
        connection.ready().await.ok()?;
        let body = format!(r#"{{"user_id":{user},"product_id":{}}}"#, self.product);
        let request = Request::post("/api/buy")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .ok()?;
        let response = connection.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        self.connection = Some(connection);
        Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}

async fn connect(authority: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(authority).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}
