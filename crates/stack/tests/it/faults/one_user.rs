//! F23 and F24: replies that never arrive and whoever asks again; one user who presses a hundred
//! times at once. One user holds one order (I5), and every answer names the same one (I11).

use std::collections::BTreeSet;
use std::time::Duration;

use stack::proxy::Direction;
use stack::{Stack, StackOptions};
use tokio::task::JoinSet;

use super::shop::{Plan, Shop};
use super::wait_quiet;
use crate::buyer::{Answer, Ledger, buy};
use crate::wait::patient;

const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// Users of F24, one after the other, each pressing so often at once.
const USERS: u64 = 5;
const PRESSES: usize = 100;
/// Users of F23, all of them at once.
const CROWD: u64 = 60;
/// Bytes of replies that arrive before the connection is reset: from nothing to a few batches.
const CUT_AFTER: [u64; 8] = [0, 1, 40, 100, 300, 700, 1500, 4000];

/// Presses of one user through every edge at once, retried while nothing is known.
async fn press_at_once(doors: &[String], user: u64, presses: usize) -> Vec<Answer> {
    let mut all = JoinSet::new();
    for number in 0..presses {
        let door = doors[number % doors.len()].clone();
        all.spawn(async move { buy(&door, user).await.unwrap() });
    }
    all.join_all().await
}

/// The one id every answer that names one names.
fn only_id(answers: &[Answer]) -> String {
    let named = answers.iter().filter(|answer| matches!(answer.status.as_u16(), 202 | 409));
    let ids: BTreeSet<_> = named.map(|answer| answer.text("reservation_id")).collect();
    assert_eq!(ids.len(), 1, "I11: {ids:?}");
    ids.into_iter().next().unwrap().to_owned()
}

/// F24: nothing fails, so one press is accepted and ninety-nine are told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_presses_a_hundred_times_at_once_has_one_order() {
    let stack = Stack::start(patient(StackOptions::default())).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let doors = EDGES.map(|edge| stack.url(edge).unwrap());
    for user in 1..=USERS {
        let answers = press_at_once(&doors, user, PRESSES).await;
        let accepted = answers.iter().filter(|answer| answer.status == 202).count();
        let told = answers.iter().filter(|answer| answer.text("code") == "ALREADY_PURCHASED");
        assert_eq!((accepted, told.count()), (1, PRESSES - 1), "user {user}");
        only_id(&answers);
    }
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.number("SELECT count(*) FROM orders").await, USERS as i64);
    stack.shutdown().await;
}

/// F23: what Redis answers is lost again and again, at any byte, while users press through three
/// edges until they are told. Each has one order, and whatever named one named it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_are_eaten_cost_nobody_a_second_order() {
    let plan = Plan { edges: 3, settlers: 1, stock: 1000, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let doors: Vec<_> = EDGES.iter().map(|edge| shop.edges.url(edge).unwrap()).collect();
    let mut users = JoinSet::new();
    for user in 1..=CROWD {
        let doors = doors.clone();
        users.spawn(async move {
            let mut answers = Vec::new();
            // Whoever was told nothing certain asks again, elsewhere.
            for turn in 0.. {
                let at_once = press_at_once(&doors[turn % 3..=turn % 3], user, 2).await;
                let certain = at_once.iter().any(|a| matches!(a.status.as_u16(), 202 | 409));
                answers.extend(at_once);
                if certain {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (user, answers)
        });
    }
    for bytes in CUT_AFTER.into_iter().cycle().take(3 * CUT_AFTER.len()) {
        shop.of_edges.redis.reset_after(Direction::ToClient, bytes);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    shop.of_edges.redis.heal();
    let mut ids = BTreeSet::new();
    for (user, mut answers) in users.join_all().await {
        answers.push(buy(&doors[0], user).await.unwrap());
        ids.insert(only_id(&answers));
    }
    wait_quiet(&shop.servers, &ledger).await;
    let orders: BTreeSet<_> = ledger.orders().await.into_keys().collect();
    assert_eq!(orders, ids, "I5: an order nobody was told of");
    shop.close().await;
}
