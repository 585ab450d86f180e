//! A broker that forgets its queue, stays away, refuses, says nothing, or is killed.

use std::time::{Duration, Instant};

use lapin::options::QueueDeleteOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use stack::proxy::Direction;
use stack::{Stack, StackOptions};

use super::shop::{Plan, Shop};
use super::{
    NO_RELAY, NO_SWEEPER, accepted, env, logged, metric, outbox_length, redis, reservation,
    wait_quiet, wait_settled,
};
use crate::buyer::{Ledger, buy, get};
use crate::crowd::Crowd;
use crate::wait::{wait_running, wait_until};

const QUEUE: &str = "orders";

async fn channel(stack: &Stack) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(stack.amqp_url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// F6: the queue is deleted with its backlog, which the broker had confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_loses_nothing() {
    let env = env(&[("SETTLER_RECONCILE_MS", "500")]);
    let options = StackOptions { edges: 2, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("settler-1").await.unwrap();
    let mut ids = accepted(stack.http(), 1..=40).await;
    let redis = redis(&stack).await;
    wait_until("the broker has everything", || async { outbox_length(&redis).await == 0 }).await;
    let (_connection, channel) = channel(&stack).await;
    let backlog = channel
        .queue_delete(ShortString::from(QUEUE), QueueDeleteOptions::default())
        .await
        .unwrap();
    assert!(backlog > 0, "the backlog was in the queue and nowhere else");
    assert_eq!(ledger.orders().await.len(), 0);

    // The sale goes on: an unroutable publish is not taken for confirmed, the topology returns.
    ids.extend(accepted(stack.http(), 41..=50).await);
    stack.resume("settler-1").await.unwrap();
    wait_settled(&ledger, &ids).await;
    ledger.assert_adds_up().await;
    assert_eq!(ledger.orders().await.len(), 50, "each once");
    let log = std::fs::read_to_string(stack.dir().join("logs/settler-1.log")).unwrap();
    assert!(log.contains("published reservations again that no queue held"), "{log}");
    stack.shutdown().await;
}

/// F6: the binding is gone; whatever is published is returned, and confirmed nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_binding_loses_nothing() {
    let stack = Stack::start(StackOptions { edges: 1, ..StackOptions::default() }).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let mut ids = accepted(stack.http(), 1..=5).await;
    let (_connection, channel) = channel(&stack).await;
    let [queue, exchange, key] = [QUEUE; 3].map(ShortString::from);
    channel.queue_unbind(queue, exchange, key, FieldTable::default()).await.unwrap();
    ids.extend(accepted(stack.http(), 6..=15).await);
    wait_settled(&ledger, &ids).await;
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

/// What buyers were told one after the other.
struct Told {
    ids: Vec<String>,
    shed: Vec<u64>,
}

/// Presses one after the other, so that each is a batch of its own.
async fn press_one_by_one(http: &str, users: std::ops::RangeInclusive<u64>) -> Told {
    let (mut ids, mut shed) = (Vec::new(), Vec::new());
    for user in users {
        let answer = buy(http, user).await.unwrap();
        match (answer.status.as_u16(), answer.text("code")) {
            (202, _) => ids.push(answer.text("reservation_id").to_owned()),
            (503, "UNAVAILABLE") => {
                assert!(answer.headers.contains_key("retry-after"));
                shed.push(user);
            }
            other => panic!("user {user}: {other:?}"),
        }
    }
    Told { ids, shed }
}

impl Told {
    async fn assert_shed_before_reserving(&self, stack: &Stack) {
        let redis = redis(stack).await;
        for user in &self.shed {
            let reserved = reservation(&redis, *user).await;
            assert_eq!(reserved, None, "user {user} was turned away and holds a reservation");
        }
    }
}

async fn wait_broker_missed(stack: &Stack) {
    let edge = stack.url("edge-1").unwrap();
    wait_until("the edge knows", || async { get(&edge, "/readyz").await.unwrap().status == 503 })
        .await;
}

/// F5, F8: the broker stays away. Buyers are accepted without waiting until the outbox is full,
/// then turned away before anything is reserved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_buyers_are_accepted_up_to_the_bound_and_shed_before_reserving() {
    const BOUND: usize = 60;
    let env = env(&[("EDGE_OUTBOX_MAX", &BOUND.to_string())]);
    let options = StackOptions { edges: 1, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("rabbitmq").await.unwrap();
    wait_broker_missed(&stack).await;
    let told = press_one_by_one(stack.http(), 1..=100).await;
    assert_eq!((told.ids.len(), told.shed.len()), (BOUND, 100 - BOUND));
    told.assert_shed_before_reserving(&stack).await;
    stack.resume("rabbitmq").await.unwrap();
    wait_settled(&ledger, &told.ids).await;
    wait_until("the sale goes on", || async {
        buy(stack.http(), told.shed[0]).await.unwrap().status == 202
    })
    .await;
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

/// An edge waits for a reservation and then for a confirm, a second each; the rest is for a busy
/// machine.
const ANSWER_MAX: Duration = Duration::from_millis(1_000 + 1_000 + 1_000);

/// F4: the broker takes messages and its confirms get lost. Buyers are told 202 all the same; what
/// was delivered twice settles once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_confirms_delay_a_202_no_longer_than_the_timeout_and_copies_settle_once() {
    let plan = Plan {
        edges: 1,
        settlers: 1,
        stock: 1000,
        settler_env: &[NO_RELAY, NO_SWEEPER],
        ..Plan::default()
    };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let mut ids = accepted(shop.http(), 1..=5).await;
    wait_settled(&ledger, &ids).await;
    shop.of_edges.amqp.black_hole(Direction::ToClient);
    for user in 6..=10 {
        let started = Instant::now();
        ids.extend(accepted(shop.http(), user..=user).await);
        let took = started.elapsed();
        assert!(took < ANSWER_MAX, "user {user} waited {took:?}");
    }
    wait_settled(&ledger, &ids).await;
    let redis = redis(&shop.servers).await;
    assert!(outbox_length(&redis).await >= 5, "nobody knows that they are confirmed");
    let settler = shop.settlers.url("settler-1").unwrap();
    let replayed = "flashsale_settled_orders_total{status=\"replayed\"}";
    let before = metric(&settler, replayed).await;

    // The edge keeps what was not confirmed, and publishes it again.
    shop.of_edges.amqp.heal();
    shop.of_edges.amqp.cut();
    wait_quiet(&shop.servers, &ledger).await;
    wait_until("the copies were delivered", || async {
        metric(&settler, replayed).await >= before + 5.0
    })
    .await;
    ids.extend(accepted(shop.http(), 11..=15).await);
    wait_settled(&ledger, &ids).await;
    wait_quiet(&shop.servers, &ledger).await;
    assert_eq!(ledger.orders().await.len(), 15, "I3: one outcome each");
    shop.close().await;
}

/// F4, F5, F13: settlers do not get on, the queue is full, and publishes are refused. Buyers are
/// accepted until the outbox is full too, then turned away before anything is reserved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_loses_nothing_and_buyers_are_shed_before_reserving() {
    const OUTBOX_MAX: usize = 30;
    /// The backoff grows to 2 s; without one there would be several a second more.
    const REFUSALS_MAX: usize = 16;
    let env = env(&[("EDGE_OUTBOX_MAX", &OUTBOX_MAX.to_string()), NO_SWEEPER]);
    let options = StackOptions { edges: 1, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    stack.stop("settler-1").await.unwrap();
    let policy = ["set_policy", "short", "^orders$", r#"{"max-length":5}"#];
    stack.rabbitmqctl(&policy).await.unwrap();
    let told = press_one_by_one(stack.http(), 1..=100).await;
    // The queue overshoots its bound by a few.
    assert!(told.ids.len() > OUTBOX_MAX && told.ids.len() < 100, "{}", told.ids.len());
    assert!(!told.shed.is_empty(), "nobody was turned away");
    told.assert_shed_before_reserving(&stack).await;
    let refusals = logged(&stack, "edge-1", "not taken: nacked");
    assert!((1..REFUSALS_MAX).contains(&refusals), "published {refusals} times in vain");
    stack.rabbitmqctl(&["clear_policy", "short"]).await.unwrap();
    stack.resume("settler-1").await.unwrap();
    wait_settled(&ledger, &told.ids).await;
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), told.ids.len(), "each once");
    stack.shutdown().await;
}

/// How long the broker refuses to read (F7) or is away (F8).
const BLOCKED: Duration = Duration::from_secs(20);
const AWAY: Duration = Duration::from_secs(30);
/// While the broker is known to be away nobody waits for it, but somebody has to find out.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// F7: the broker is short of memory and blocks every publisher for 20 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_broker_keeps_nobody_waiting_and_strands_nothing() {
    let options = StackOptions { edges: 2, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let crowd = Crowd::gentle(stack.http());
    crowd.accepts(100).await;
    stack.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]).await.unwrap();
    let silence = crowd.longest_silence(BLOCKED).await;
    assert!(outbox_length(&redis(&stack).await).await > 0, "the broker was not blocked");
    stack.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    crowd.accepts(100).await;
    let told = crowd.go_home().await;
    assert!(silence < SILENCE_MAX, "nobody was accepted for {silence:?}");
    assert!(told.slowest < ANSWER_MAX, "somebody waited {:?}", told.slowest);
    assert_eq!(told.check(&ledger).await, 0, "I7");
    assert!(told.contradicted.is_empty() && told.unknown.is_empty(), "{:?}", told.unknown);
    wait_quiet(&stack, &ledger).await;
    stack.shutdown().await;
}

/// F8: the broker is killed five times while buyers press; what it had confirmed is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_five_times_loses_nothing_it_confirmed() {
    let env = env(&[NO_SWEEPER]);
    let options = StackOptions { edges: 2, stock: 1_000_000, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let crowd = Crowd::gentle(stack.http());
    for _ in 0..5 {
        crowd.accepts(100).await;
        stack.kill("rabbitmq", "KILL").await.unwrap();
        crowd.accepts(100).await;
        wait_running(&stack, "rabbitmq").await;
    }
    let told = crowd.go_home().await;
    assert_eq!(told.check(&ledger).await, 0, "I7");
    assert!(told.contradicted.is_empty(), "I11");
    wait_quiet(&stack, &ledger).await;
    stack.shutdown().await;
}

/// I8: how long after the broker's return everything may take to be settled.
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// F8: the broker is away for 30 s in the middle of a sale. Buyers do not notice; everything is
/// settled within 30 s of its return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_goes_on_without_its_broker_and_is_settled_when_it_returns() {
    let options = StackOptions { edges: 2, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    let crowd = Crowd::gentle(stack.http());
    crowd.accepts(100).await;
    stack.stop("rabbitmq").await.unwrap();
    let silence = crowd.longest_silence(AWAY).await;
    stack.resume("rabbitmq").await.unwrap();
    let returned = Instant::now();
    crowd.accepts(100).await;
    let told = crowd.go_home().await;
    assert!(silence < SILENCE_MAX, "nobody was accepted for {silence:?}");
    assert!(told.slowest < ANSWER_MAX, "somebody waited {:?}", told.slowest);
    assert_eq!(told.check(&ledger).await, 0, "I7");
    assert!(told.unknown.is_empty() && told.turned_away.is_empty(), "{:?}", told.turned_away);
    wait_quiet(&stack, &ledger).await;
    let took = returned.elapsed();
    assert!(took < SETTLED_MAX, "I8: settled {took:?} after the broker returned");
    stack.shutdown().await;
}
