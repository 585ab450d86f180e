//! Processes killed with -9 in the middle of a sale: every 202 still ends with exactly one order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stack::{Stack, StackOptions, State};

use crate::buyer::{Ledger, buy};
use crate::wait::wait_until;

/// What buyers were told while something was killed.
#[derive(Default)]
struct Told {
    /// Reservation id by user.
    accepted: BTreeMap<u64, String>,
    unknown: Vec<u64>,
}

/// Buyers who keep pressing until told to stop; one in ten asks again.
struct Crowd {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    workers: tokio::task::JoinSet<Told>,
}

impl Crowd {
    fn start(http: &str) -> Self {
        let (stop, accepted, next) =
            (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::new(AtomicU64::new(1)));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (http, stop, next) = (http.to_owned(), stop.clone(), next.clone());
            let accepted: Arc<AtomicU64> = Arc::clone(&accepted);
            workers.spawn(async move {
                let mut told = Told::default();
                while !stop.load(Ordering::Relaxed) {
                    let user = next.fetch_add(1, Ordering::Relaxed);
                    press(&http, user, &mut told, &accepted).await;
                    if user.is_multiple_of(10) {
                        press(&http, user, &mut told, &accepted).await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                told
            });
        }
        Self { stop, accepted, workers }
    }

    /// Waits until so many more were accepted: the system works.
    async fn accepts(&self, more: u64) {
        let before = self.accepted.load(Ordering::Relaxed);
        wait_until("buyers are accepted", || async {
            self.accepted.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    async fn go_home(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for told in self.workers.join_all().await {
            all.accepted.extend(told.accepted);
            all.unknown.extend(told.unknown);
        }
        all
    }
}

async fn press(http: &str, user: u64, told: &mut Told, accepted: &AtomicU64) {
    let Some(answer) = buy(http, user).await else {
        told.unknown.push(user);
        return;
    };
    let id = answer.text("reservation_id").to_owned();
    match (answer.status.as_u16(), answer.text("code")) {
        (202, _) => {
            let before = told.accepted.insert(user, id.clone());
            assert!(before.is_none_or(|before| before == id), "user {user} was accepted twice");
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        (409, "ALREADY_PURCHASED") => {
            // Either this crowd heard of it, or the answer was lost; both are the same order.
            if let Some(known) = told.accepted.get(&user) {
                assert_eq!(*known, id, "I11: a replay returns the same id");
            }
        }
        (503, _) => told.unknown.push(user),
        (400, "SOLD_OUT") => panic!("false sold out: units remain"),
        other => panic!("user {user}: {other:?} {answer:?}"),
    }
}

async fn survives(kill: &[&str]) {
    let options = StackOptions { settlers: 2, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let crowd = Crowd::start(stack.http());
    crowd.accepts(50).await;
    for name in kill {
        stack.kill(name, "KILL").await.unwrap();
        // The sale goes on, or comes back, and then the next one dies.
        crowd.accepts(100).await;
        wait_until(&format!("{name} runs again"), || async {
            stack.status().processes.iter().any(|p| p.name == *name && p.state == State::Running)
        })
        .await;
    }
    let told = crowd.go_home().await;
    let ledger = Ledger::open(&stack).await;
    wait_until("every 202 has its order", || async {
        let orders = ledger.orders().await;
        told.accepted.values().all(|id| orders.contains_key(id))
    })
    .await;
    let orders = ledger.orders().await;
    let rejected = told.accepted.values().filter(|id| orders[*id] != "confirmed").count();
    assert_eq!(rejected, 0, "I7: Redis lost nothing, so nobody is rejected after a 202");
    ledger.assert_adds_up().await;
    assert!(told.accepted.len() > 100, "{kill:?}: {} unknown", told.unknown.len());
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_and_an_edge_killed_mid_sale_lose_nothing() {
    survives(&["settler-1", "edge-1", "settler-2", "edge-2", "nginx"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_killed_mid_sale_loses_nothing() {
    survives(&["redis", "postgres", "rabbitmq"]).await;
}
