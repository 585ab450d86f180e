//! Presses Buy at a constant rate whatever the answers do, and measures each latency from the
//! moment the request was due: a stall counts for everyone who came during it (no coordinated
//! omission).
//!
//! One thread presses over all connections, so that no request wakes another core, and one paces,
//! as a runtime's timers are a millisecond coarse.
//! Invariant: every request that was due is answered, broken, or counted as turned away here.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::http::{Answer, Connection};
use crate::percentiles::Latencies;

/// Requests that are due within one such step are sent together, as other tools do; what one waits
/// for it is part of its latency.
const STEP: Duration = Duration::from_millis(1);

/// What to press.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) product: i64,
    pub(crate) first_user: i64,
    /// Requests that may wait for a free connection; more are turned away by this program.
    pub(crate) waiting_max: usize,
}

impl Plan {
    /// When a request is due, counted from the start.
    #[expect(clippy::cast_precision_loss, reason = "requests far below 2^53")]
    fn due_after(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// What all connections were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// From due to answered.
    pub(crate) accepted: Latencies,
    pub(crate) refused: Latencies,
    pub(crate) by_status: BTreeMap<u16, u64>,
    pub(crate) reservations: Vec<Uuid>,
    /// No complete answer.
    pub(crate) broken: u64,
    /// The first answer other than 202, or why there was none.
    pub(crate) first_other: Option<String>,
    /// Never sent: no connection was free.
    pub(crate) turned_away: u64,
    pub(crate) due: u64,
    /// From the first that was due to the last answer.
    pub(crate) seconds: f64,
}

impl Told {
    pub(crate) fn count(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// 202s a second.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn goodput(&self) -> f64 {
        self.count(202) as f64 / self.seconds
    }

    /// What was answered besides 202, for a person.
    pub(crate) fn others(&self) -> String {
        let others = self.by_status.iter().filter(|(status, _)| **status != 202);
        let mut parts: Vec<_> =
            others.map(|(status, count)| format!("{count} x {status}")).collect();
        parts.push(format!("{} broken of {} due", self.broken, self.due));
        parts.extend(self.first_other.iter().map(|first| format!("first: {first}")));
        parts.join(", ")
    }

    /// Adds another run.
    pub(crate) fn append(&mut self, other: &Self) {
        self.merge(other);
        self.due += other.due;
        self.turned_away += other.turned_away;
        self.seconds += other.seconds;
    }

    fn merge(&mut self, other: &Self) {
        self.accepted.merge(&other.accepted);
        self.refused.merge(&other.refused);
        for (status, count) in &other.by_status {
            *self.by_status.entry(*status).or_default() += count;
        }
        self.reservations.extend_from_slice(&other.reservations);
        self.broken += other.broken;
        if self.first_other.is_none() {
            self.first_other.clone_from(&other.first_other);
        }
    }

    fn note(&mut self, due: Instant, answer: anyhow::Result<Answer>) -> bool {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.broken += 1;
                self.first_other.get_or_insert_with(|| format!("{error:#}"));
                return false;
            }
        };
        *self.by_status.entry(answer.status).or_default() += 1;
        if answer.status == 202 {
            self.accepted.record(due.elapsed());
            self.reservations.extend(answer.reservation());
        } else {
            self.refused.record(due.elapsed());
            self.first_other.get_or_insert_with(|| {
                format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
            });
        }
        true
    }
}

/// Who is free, and who waits.
#[derive(Debug, Default)]
struct Desk {
    /// In turn: nginx closes a connection that asks nothing for 10 s.
    free: VecDeque<usize>,
    waiting: VecDeque<Instant>,
}

struct Shared {
    desk: Mutex<Desk>,
    next_user: AtomicI64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a connection does next; without work it is free.
    fn next(&self, connection: usize) -> Option<Instant> {
        let mut desk = self.lock();
        let next = desk.waiting.pop_front();
        if next.is_none() {
            desk.free.push_back(connection);
        }
        next
    }
}

/// Presses as planned and waits for every answer.
///
/// # Errors
/// When not every connection can be opened.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Told> {
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(press(&plan))
    })
    .await?
}

async fn press(plan: &Plan) -> anyhow::Result<Told> {
    let shared =
        Arc::new(Shared { desk: Mutex::default(), next_user: AtomicI64::new(plan.first_user) });
    let mut senders = Vec::new();
    let mut workers = JoinSet::new();
    for number in 0..plan.connections {
        let connection = Connection::open(plan.address).await.context("opening a connection")?;
        let (sender, inbox) = mpsc::unbounded_channel();
        senders.push(sender);
        shared.lock().free.push_back(number);
        workers.spawn(work(plan.clone(), number, connection, inbox, shared.clone()));
    }
    let started = Instant::now();
    let (due, mut newly_due) = mpsc::unbounded_channel();
    let pacing = {
        let plan = plan.clone();
        tokio::task::spawn_blocking(move || pace(&plan, started, &due))
    };
    let mut all = Told::default();
    while let Some(due) = newly_due.recv().await {
        all.turned_away += hand_out(plan, started, all.due..due, &shared, &senders);
        all.due = due;
    }
    pacing.await?;
    drop(senders);
    while let Some(told) = workers.join_next().await {
        all.merge(&told?);
    }
    all.seconds = started.elapsed().as_secs_f64();
    Ok(all)
}

/// Says how many requests are due by now, until the end.
fn pace(plan: &Plan, start: Instant, newly_due: &UnboundedSender<u64>) {
    let mut due = 0;
    loop {
        let elapsed = start.elapsed().min(plan.length);
        let before = due;
        while plan.due_after(due) < elapsed {
            due += 1;
        }
        let is_over = elapsed == plan.length;
        if (due > before && newly_due.send(due).is_err()) || is_over {
            return;
        }
        std::thread::sleep(STEP.max(plan.due_after(due).saturating_sub(start.elapsed())));
    }
}

/// Gives requests to free connections, or lets them wait; how many there was no room for.
fn hand_out(
    plan: &Plan,
    start: Instant,
    due: Range<u64>,
    shared: &Shared,
    senders: &[UnboundedSender<Instant>],
) -> u64 {
    let mut turned_away = 0;
    let mut desk = shared.lock();
    for at in due.map(|number| start + plan.due_after(number)) {
        match desk.free.pop_front() {
            Some(connection) => drop(senders[connection].send(at)),
            None if desk.waiting.len() < plan.waiting_max => desk.waiting.push_back(at),
            None => turned_away += 1,
        }
    }
    turned_away
}

async fn work(
    plan: Plan,
    number: usize,
    connection: Connection,
    mut inbox: UnboundedReceiver<Instant>,
    shared: Arc<Shared>,
) -> Told {
    let mut told = Told::default();
    let mut connection = Some(connection);
    while let Some(due) = inbox.recv().await {
        let mut next = Some(due);
        while let Some(due) = next {
            let user = shared.next_user.fetch_add(1, Ordering::Relaxed);
            let answer = ask(&plan, &mut connection, user).await;
            if !told.note(due, answer) {
                connection = None;
            }
            next = shared.next(number);
        }
    }
    told
}

async fn ask(plan: &Plan, kept: &mut Option<Connection>, user: i64) -> anyhow::Result<Answer> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(plan.address).await?),
    };
    connection.buy(user, plan.product).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    /// Answers each request of each connection after `delay`.
    async fn server(delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(delay).await;
                        stream.write_all(ACCEPTED).await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn plan(address: SocketAddr, connections: usize, waiting_max: usize) -> Plan {
        let length = Duration::from_millis(500);
        Plan { address, connections, rate: 200.0, length, product: 1, first_user: 1, waiting_max }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_slow_server_makes_everyone_wait_who_was_due_meanwhile() {
        // 50 answers a second of 200 that are due: the last one waited 1.5 s, not 20 ms.
        let address = server(Duration::from_millis(20)).await;
        let mut told = run(&plan(address, 1, usize::MAX)).await.unwrap();
        assert_eq!(told.due, 100, "all that falls into the time, however late it is looked at");
        assert_eq!(told.count(202), told.due, "everyone who was due was answered");
        assert!(told.accepted.quantile_ms(0.99).unwrap() > 1000.0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_room_to_wait_the_rest_is_turned_away_and_counted() {
        let address = server(Duration::from_millis(20)).await;
        let told = run(&plan(address, 1, 0)).await.unwrap();
        assert!(told.turned_away > 0);
        assert_eq!(told.count(202) + told.turned_away + told.broken, told.due);
    }
}
