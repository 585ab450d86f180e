//! F27: orders resolved by two at once, a thousand times each, also over rebuilds of Redis.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use service::redis_pool::RedisCalls;

use crate::fixture::{id, wait_until};
use crate::holds::{Shop, is_now};

/// Races of each kind.
const RACES: u32 = 1_000;
/// Racers under way at once, and the units they race over: a unit that does not return leaves one
/// of the next without.
const AT_ONCE: u32 = 16;
/// A part of the milliseconds a race takes.
const STAGGER: Duration = Duration::from_millis(1);

/// What a race is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Race {
    CancelledTwice,
    CancelledWhileExpiring,
    CancelledWhileSettling,
    PaidWhileCancelled,
}

/// One racer: a buyer whose order is resolved twice at once.
async fn race(shop: &Shop, race: Race, number: u32) {
    let (number, user) = (u128::from(number) + 1, i64::from(number) + 1);
    let found = Mutex::new(None);
    wait_until("a unit is there for the next racer", || async {
        let reserved = shop.reserve(number, user).await;
        *found.lock().unwrap() = reserved;
        reserved.is_some()
    })
    .await;
    let reservation = found.into_inner().unwrap().unwrap();
    if race != Race::CancelledWhileSettling {
        shop.settle(&reservation).await;
    }
    let id = id(number);
    match race {
        Race::CancelledTwice => {
            let (one, two) = tokio::join!(shop.cancel(id), shop.cancel(id));
            assert!(is_now(&one) != is_now(&two), "{one:?} {two:?}");
        }
        Race::CancelledWhileExpiring => {
            let due = format!("UPDATE orders SET expires_at = now() WHERE id = '{id}'");
            shop.execute(&due).await;
            tokio::join!(shop.cancel(id), shop.expire(), shop.expire());
        }
        Race::CancelledWhileSettling => {
            let (cancelled, ()) =
                tokio::join!(shop.cancel_queued(&reservation), shop.settle(&reservation));
            assert!(is_now(&cancelled), "{cancelled:?}");
        }
        Race::PaidWhileCancelled => {
            let (paid, cancelled) = tokio::join!(shop.pay(id), shop.cancel(id));
            assert!(is_now(&paid) != is_now(&cancelled), "{paid:?} {cancelled:?}");
        }
    }
}

/// The gatekeeper while racers race; Redis forgets everything once if `rebuilt`.
async fn gatekeeper(shop: &Shop, rebuilt: bool, round: u32) {
    if rebuilt {
        // At another moment of the races each time.
        tokio::time::sleep(STAGGER * (round % 16)).await;
        shop.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    }
    loop {
        shop.keep_the_gate().await;
        tokio::time::sleep(STAGGER).await;
    }
}

/// A thousand races, some at once.
async fn races(kind: Race, rebuilt: bool) {
    let paid = if kind == Race::PaidWhileCancelled { RACES } else { 0 };
    let shop = Shop::open(i64::from(AT_ONCE + paid), 60).await;
    for round in 0..RACES.div_ceil(AT_ONCE) {
        let numbers = round * AT_ONCE..((round + 1) * AT_ONCE).min(RACES);
        let racers = join_all(numbers.map(|number| race(&shop, kind, number)));
        tokio::select! {
            _ = racers => {}
            () = gatekeeper(&shop, rebuilt, round) => {}
        }
    }
    shop.assert_quiet_and_equal().await;
    let of = async |statuses: &str| {
        let query = format!("SELECT count(*) FROM orders WHERE status IN ({statuses})");
        shop.servers.number(&query).await
    };
    let given_up = of("'cancelled', 'expired'").await;
    assert_eq!(given_up + of("'paid'").await, i64::from(RACES), "{kind:?}: each was resolved");
    let voids = "SELECT count(DISTINCT reservation_id) FROM effects WHERE kind = 'void'";
    assert_eq!(shop.servers.number(voids).await, given_up, "{kind:?}: each returned once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_twice_returns_its_units_once() {
    races(Race::CancelledTwice, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_while_it_expires_returns_its_units_once() {
    races(Race::CancelledWhileExpiring, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_while_it_is_settled_returns_its_units_once() {
    races(Race::CancelledWhileSettling, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_paid_while_it_is_cancelled_is_one_of_both() {
    races(Race::PaidWhileCancelled, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_twice_over_a_rebuild_returns_its_units_once() {
    races(Race::CancelledTwice, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_while_it_expires_over_a_rebuild_returns_its_units_once() {
    races(Race::CancelledWhileExpiring, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_cancelled_while_it_is_settled_over_a_rebuild_returns_its_units_once() {
    races(Race::CancelledWhileSettling, true).await;
}
