//! F27: orders given up while other things happen return their units exactly once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::{Stack, StackOptions};
use tokio::task::JoinSet;

use super::{redis, sale_field, wait_quiet};
use crate::buyer::{Ledger, buy, get, resolve};
use crate::reconcile::reconcile;
use crate::wait::{wait_running, wait_until};

/// Units of the sale that is lived through.
const UNITS: i64 = 1000;
/// As long as a buyer has.
const HOLD_SECONDS: u32 = 2;
/// Buyers at once.
const WORKERS: u64 = 24;

/// What buyers were told.
#[derive(Debug, Default)]
struct Bought {
    /// Reservations somebody was told are paid.
    paid: BTreeSet<String>,
    /// Reservations whose payment got no answer, or whose buyer got none.
    unknown: u64,
    /// Reservations of a 202.
    accepted: BTreeSet<String>,
}

/// A whole life of a sale: half the buyers never pay, every unit they held is sold again, until
/// all are paid. Three edges, two settlers, one of each killed on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_with_holds_ends_with_every_unit_paid_exactly_once() {
    let options = StackOptions { settlers: 2, stock: UNITS, ..StackOptions::default() };
    let stack = Arc::new(Stack::start(options).await.unwrap());
    let ledger = Ledger::open(&stack).await;
    ledger.hold(HOLD_SECONDS).await;
    let next = Arc::new(AtomicU64::new(1));
    let mut buyers = JoinSet::new();
    for _ in 0..WORKERS {
        buyers.spawn(buy_until_all_is_paid(stack.clone(), next.clone()));
    }
    let watching = tokio::spawn(watch_the_books(Ledger::open(&stack).await));
    let paid = "SELECT count(*) FROM orders WHERE status = 'paid'";
    for (process, when) in [("edge-2", UNITS / 5), ("settler-1", UNITS / 3)] {
        wait_until("the sale is under way", || async { ledger.number(paid).await >= when }).await;
        stack.kill(process, "KILL").await.unwrap();
    }
    let mut bought = Bought::default();
    for told in buyers.join_all().await {
        bought.paid.extend(told.paid);
        bought.accepted.extend(told.accepted);
        bought.unknown += told.unknown;
    }
    watching.await.unwrap();

    wait_quiet(&stack, &ledger).await;
    let orders = ledger.orders().await;
    let of = |status: &str| orders.values().filter(|s| *s == status).count();
    assert_eq!(of("paid"), 1000, "exactly as many are paid as there are units");
    assert_eq!(of("expired"), orders.len() - 1000, "every other one expired: none is held");
    assert!(of("expired") > 300, "too few never paid: {}", of("expired"));
    assert!(bought.paid.iter().all(|id| orders[id] == "paid"), "whoever was told so has paid");
    assert!(bought.paid.len() as u64 + bought.unknown >= 1000);
    assert!(bought.accepted.iter().all(|id| orders.contains_key(id)), "I3: an outcome each 202");
    let voids = ledger
        .number("SELECT count(DISTINCT reservation_id) FROM effects WHERE kind = 'void'")
        .await;
    assert_eq!(voids, i64::try_from(of("expired")).unwrap(), "each returned once");
    for process in ["edge-2", "settler-1"] {
        wait_running(&stack, process).await;
    }
    let (holds, report) = reconcile(&stack, &["--wait-ms", "30000"]);
    assert!(holds, "{report}");
    Arc::into_inner(stack).unwrap().shutdown().await;
}

/// Presses for one new user after the other; every other one pays.
async fn buy_until_all_is_paid(stack: Arc<Stack>, next: Arc<AtomicU64>) -> Bought {
    let ledger = Ledger::open(&stack).await;
    let mut bought = Bought::default();
    loop {
        let user = next.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = buy(stack.http(), user).await else {
            bought.unknown += 1;
            continue;
        };
        match (answer.status.as_u16(), answer.text("code")) {
            (202, _) => {
                bought.accepted.insert(answer.text("reservation_id").to_owned());
                if user.is_multiple_of(2) {
                    pay(&stack, answer.text("status_url"), &mut bought).await;
                }
            }
            (400, "SOLD_OUT") => {
                let paid = "SELECT count(*) FROM orders WHERE status = 'paid'";
                if ledger.number(paid).await >= UNITS {
                    return bought;
                }
                // Until somebody's time is over.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (503, _) => bought.unknown += 1,
            other => panic!("user {user}: {other:?} {answer:?}"),
        }
    }
}

/// Pays as soon as it can be; gives up when the time is over.
async fn pay(stack: &Stack, url: &str, bought: &mut Bought) {
    let id = url.split(['/', '?']).nth(3).unwrap().to_owned();
    loop {
        let Some(answer) = resolve(stack.http(), url, "pay").await else {
            bought.unknown += 1;
            return;
        };
        match (answer.status.as_u16(), answer.text("code")) {
            (200, _) => {
                assert_eq!(answer.text("status"), "paid");
                bought.paid.insert(id);
                return;
            }
            // Not settled yet, or a process died under it: asking again is safe.
            (409, "ORDER_QUEUED") | (503, _) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (409, "ORDER_EXPIRED") => return,
            other => panic!("{other:?} {answer:?}"),
        }
    }
}

/// At every look, until all is paid: units add up, and no more are held and paid than there are.
async fn watch_the_books(ledger: Ledger) {
    let look = "SELECT count(*) FILTER (WHERE o.status = 'held')::bigint AS held, \
                count(*) FILTER (WHERE o.status = 'paid')::bigint AS paid, p.stock, p.total \
                FROM products p LEFT JOIN orders o ON o.product_id = p.id WHERE p.id = 1 \
                GROUP BY p.id";
    loop {
        let [held, paid, stock, total] = ledger.four(look).await;
        assert!(held + paid <= total, "{held} held, {paid} paid of {total}");
        assert_eq!(stock + held + paid, total, "I1 at every commit");
        if paid == total {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Cancelled at once through one edge, again through another, while it is settled, and while Redis
/// is emptied and rebuilt: at quiet every unit is back, in PostgreSQL and in Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_twice_while_settled_and_over_a_rebuild_every_unit_returns_once() {
    let options = StackOptions { edges: 2, settlers: 2, stock: 50, ..StackOptions::default() };
    let stack = Arc::new(Stack::start(options).await.unwrap());
    let ledger = Ledger::open(&stack).await;
    ledger.hold(3600).await;
    let redis = redis(&stack).await;
    let next = Arc::new(AtomicU64::new(1));
    for round in 0..6 {
        let mut buyers = JoinSet::new();
        for _ in 0..20 {
            let (stack, next) = (stack.clone(), next.clone());
            buyers.spawn(async move {
                for _ in 0..5 {
                    buy_and_cancel(&stack, next.fetch_add(1, Ordering::Relaxed)).await;
                }
            });
        }
        if round % 2 == 1 {
            ::redis::cmd("FLUSHALL").exec_async(&mut redis.clone()).await.unwrap();
        }
        buyers.join_all().await;
    }
    // An order whose reservation Redis lost before anybody could cancel it is held.
    wait_until("what is left is settled and cancelled", || async {
        ledger.execute("UPDATE orders SET expires_at = now() WHERE status = 'held'").await;
        ledger.number("SELECT stock FROM products WHERE id = 1").await == 50
            && sale_field(&redis, "available").await == Some(50)
    })
    .await;
    wait_quiet(&stack, &ledger).await;
    let cancelled = "SELECT count(*) FROM orders WHERE status = 'cancelled'";
    assert!(ledger.number(cancelled).await > 200, "too few were cancelled");
    let (holds, report) = reconcile(&stack, &["--wait-ms", "30000"]);
    assert!(holds, "{report}");
    Arc::into_inner(stack).unwrap().shutdown().await;
}

async fn buy_and_cancel(stack: &Stack, user: u64) {
    let edges = ["edge-1", "edge-2"].map(|name| stack.url(name).unwrap());
    let answer = buy(&edges[(user % 2) as usize], user).await.unwrap();
    if answer.status != 202 {
        assert!(matches!(answer.status.as_u16(), 400 | 503), "{answer:?}");
        return;
    }
    let url = answer.text("status_url");
    let [one, two] = &edges;
    let (one, two) = tokio::join!(resolve(one, url, "cancel"), resolve(two, url, "cancel"));
    for told in [one.unwrap(), two.unwrap()] {
        match (told.status.as_u16(), told.text("code")) {
            (200, _) => assert_eq!(told.text("status"), "cancelled"),
            // Redis forgot it, or is being rebuilt.
            (404, "UNKNOWN_ORDER") | (503, _) => {}
            other => panic!("user {user}: {other:?} {told:?}"),
        }
    }
    assert!(get(stack.http(), url).await.is_some());
}
