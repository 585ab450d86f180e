//! Deaths at a chosen moment: between two steps that a signal from outside never hits.

use std::time::{Duration, Instant};

use stack::{Stack, StackOptions};
use tempfile::TempDir;

use super::{
    NO_SWEEPER, accepted, env, outbox_length, redis, reservation, sale_field, wait_quiet,
    wait_settled,
};
use crate::buyer::{Ledger, buy, get, resolve};
use crate::wait::{wait_running, wait_until};

/// Deaths at each point: a lucky order of events would not be lucky so often.
const ROUNDS: usize = 4;
/// The relay looks every half second for what is 2 s old; the rest is for publishing, settling, and
/// a busy machine.
const RELAYED_MAX: Duration = Duration::from_millis(2_500 + 1_500);

/// The folder that arms kill points.
struct KillPoints(TempDir);

impl KillPoints {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What programs need to know of it; nobody sweeps up.
    fn env(&self) -> Vec<(String, String)> {
        env(&[("KILL_POINTS", self.0.path().to_str().unwrap()), NO_SWEEPER])
    }

    fn arm(&self, point: &str) {
        std::fs::write(self.0.path().join(point), "").unwrap();
    }

    async fn fired(&self, point: &str) {
        let path = self.0.path().join(point);
        wait_until(&format!("{point} is passed"), || async { !path.exists() }).await;
    }
}

async fn shop(points: &KillPoints, edges: usize, settlers: usize) -> (Stack, Ledger) {
    let options = StackOptions { edges, settlers, env: points.env(), ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    (stack, ledger)
}

/// F1: the edge dies when Redis has reserved and nothing is published. F3: it dies when the broker
/// has confirmed and the buyer does not know. Either way the retry, through the other edge, gets
/// the id of the one reservation there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_whose_edge_died_gets_the_same_order_from_another_edge() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 2, 1).await;
    let [first, second] = ["edge-1", "edge-2"].map(|name| stack.url(name).unwrap());
    let redis = redis(&stack).await;
    let rounds = ["edge.reserved", "edge.confirmed"].into_iter().flat_map(|p| [p; ROUNDS]);
    for (point, user) in rounds.zip(1..) {
        points.arm(point);
        assert!(buy(&first, user).await.is_none(), "the edge died before it answered");
        points.fired(point).await;
        let died = Instant::now();
        let id = reservation(&redis, user).await.expect("the reservation stands");
        let again = buy(&second, user).await.unwrap();
        assert_eq!((again.status.as_u16(), again.text("code")), (409, "ALREADY_PURCHASED"));
        assert_eq!(again.text("reservation_id"), id, "F3, I11: the same id");
        wait_settled(&ledger, &[id]).await;
        let took = died.elapsed();
        assert!(took < RELAYED_MAX, "F1, {point}: settled {took:?} after the edge died");
        wait_serving(&first).await;
    }
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), 2 * ROUNDS, "an order each");
    stack.shutdown().await;
}

/// F9: the settler dies after COMMIT, before the acknowledgement. F10: it dies within the
/// transaction. The redelivery settles what was not, and changes nothing of what was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_that_dies_around_its_commit_settles_each_order_once() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 1, 1).await;
    let mut users = 1..;
    for point in ["settler.inserted", "settler.committed"] {
        for _ in 0..ROUNDS {
            points.arm(point);
            let mut ids = Vec::new();
            for user in users.by_ref().take(5) {
                ids.extend(accepted(stack.http(), user..=user).await);
            }
            points.fired(point).await;
            wait_settled(&ledger, &ids).await;
            ledger.assert_adds_up().await;
        }
    }
    wait_running(&stack, "settler-1").await;
    wait_quiet(&stack, &ledger).await;
    let sold = 2 * ROUNDS * 5;
    assert_eq!(ledger.orders().await.len(), sold, "I3: one outcome each");
    let stock = ledger.number("SELECT stock FROM products WHERE id = 1").await;
    assert_eq!(stock, 1000 - i64::try_from(sold).unwrap(), "I1: no unit was taken twice");
    stack.shutdown().await;
}

/// F15, F19: whoever vouches dies half-way; the other opens the sale, with every holder in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeeper_that_dies_half_way_leaves_the_sale_closed_until_another_opens_it() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 1, 2).await;
    let ids = accepted(stack.http(), 1..=20).await;
    wait_settled(&ledger, &ids).await;
    let redis = redis(&stack).await;
    for (point, user) in ["gatekeeper.claimed", "gatekeeper.adopted"].into_iter().zip(21..) {
        points.arm(point);
        ::redis::cmd("FLUSHALL").exec_async(&mut redis.clone()).await.unwrap();
        points.fired(point).await;
        wait_until("the sale is open again", || async {
            let answer = buy(stack.http(), user).await.unwrap();
            assert!(matches!(answer.status.as_u16(), 202 | 409 | 503), "{answer:?}");
            answer.status != 503
        })
        .await;
        let owner = buy(stack.http(), 7).await.unwrap();
        assert_eq!(owner.text("reservation_id"), ids[6], "I11: nobody was forgotten");
    }
    wait_quiet(&stack, &ledger).await;
    assert_eq!(sale_field(&redis, "available").await, Some(1000 - 22));
    stack.shutdown().await;
}

/// F1: the relay dies when the broker has confirmed and the outbox entry is still there: the next
/// one publishes it again, and it is settled once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_dies_before_it_deletes_publishes_again_and_settles_once() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 1, 2).await;
    let redis = redis(&stack).await;
    points.arm("edge.reserved");
    points.arm("relay.confirmed");
    assert!(buy(&stack.url("edge-1").unwrap(), 1).await.is_none());
    points.fired("relay.confirmed").await;
    assert_eq!(outbox_length(&redis).await, 1, "the entry outlives the relay");
    let id = reservation(&redis, 1).await.unwrap();
    wait_settled(&ledger, &[id]).await;
    wait_quiet(&stack, &ledger).await;
    // Whichever settler took the copy, it is not stuck: those that come after it are settled.
    let next = accepted(stack.http(), 2..=11).await;
    wait_settled(&ledger, &next).await;
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), 11, "one outcome each");
    stack.shutdown().await;
}

/// F27: the edge dies within a cancellation, or right after it: asked again, through the other
/// edge, the order is cancelled, and its unit came back once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_whose_edge_died_is_done_once_when_it_is_asked_again() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 2, 1).await;
    ledger.hold(3600).await;
    let [first, second] = ["edge-1", "edge-2"].map(|name| stack.url(name).unwrap());
    let rounds = ["edge.cancelling", "edge.cancelled"].into_iter().flat_map(|p| [p; ROUNDS]);
    for (point, user) in rounds.zip(1..) {
        let order = buy(&second, user).await.unwrap();
        assert_eq!(order.status, 202);
        let id = order.text("reservation_id").to_owned();
        wait_status(&ledger, &id, "held").await;
        points.arm(point);
        let url = order.text("status_url");
        assert!(resolve(&first, url, "cancel").await.is_none(), "it died before it answered");
        points.fired(point).await;
        let again = resolve(&second, url, "cancel").await.unwrap();
        assert_eq!((again.status.as_u16(), again.text("status")), (200, "cancelled"), "{point}");
        wait_serving(&first).await;
    }
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 1000);
    stack.shutdown().await;
}

/// F27: the settler dies within an expiry, or right after it, before Redis is told: the order
/// expires once, and its unit is sold again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_whose_settler_died_returns_each_unit_once() {
    let points = KillPoints::new();
    let (stack, ledger) = shop(&points, 1, 2).await;
    ledger.hold(1).await;
    let rounds = ["expiry.recorded", "expiry.committed"].into_iter().flat_map(|p| [p; ROUNDS]);
    for (point, user) in rounds.zip(1..) {
        points.arm(point);
        let order = buy(stack.http(), user).await.unwrap();
        assert_eq!(order.status, 202);
        points.fired(point).await;
        wait_status(&ledger, order.text("reservation_id"), "expired").await;
        wait_quiet(&stack, &ledger).await;
        let stock = ledger.number("SELECT stock FROM products WHERE id = 1").await;
        assert_eq!(stock, 1000, "{point}");
    }
    let again = buy(stack.http(), 1).await.unwrap();
    assert_eq!(again.status, 202, "whose order expired may buy again: {again:?}");
    stack.shutdown().await;
}

async fn wait_status(ledger: &Ledger, id: &str, status: &str) {
    wait_until(&format!("the order is {status}"), || async {
        ledger.orders().await.get(id).is_some_and(|now| now == status)
    })
    .await;
}

/// What the supervisor says may be from before the death.
async fn wait_serving(edge: &str) {
    wait_until("the edge serves again", || async {
        get(edge, "/readyz").await.is_some_and(|answer| answer.status == 200)
    })
    .await;
}
