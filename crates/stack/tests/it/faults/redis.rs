//! Redis killed, emptied, frozen, or without its last writes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stack::{Stack, StackOptions};
use tokio::task::JoinSet;

use super::shop::{Plan, Shop};
use super::{
    NO_RELAY, NO_SWEEPER, accepted, metric, redis, reservation, sale_field, wait_quiet,
    wait_settled,
};
use crate::buyer::{Ledger, buy};
use crate::crowd::Crowd;
use crate::wait::{wait_running, wait_until};

/// Orders nobody has settled when Redis is killed.
const BACKLOG: u64 = 20_000;
/// How long a sale may be closed by that.
const CLOSED_MAX_SECONDS: f64 = 2.0;

async fn selling() -> (Stack, Ledger) {
    let options = StackOptions { edges: 2, stock: 1_000_000, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    (stack, ledger)
}

/// F15: Redis is killed at peak while 20,000 orders wait to be settled. Nothing is lost, and the
/// sale is closed for less than 2 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_over_a_backlog_loses_nothing_and_is_open_again_within_two_seconds() {
    const CLOSED: &str = "flashsale_gate_closed_seconds_sum";
    let plan = Plan { edges: 3, settlers: 1, stock: 1_000_000, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let settler = shop.settlers.url("settler-1").unwrap();
    // The settler vouches, and is sent no orders.
    shop.of_settlers.amqp.refuse();
    shop.of_settlers.amqp.cut();
    let crowd = Crowd::start(shop.http(), 64, Duration::ZERO);
    wait_until("the backlog has grown", || async { crowd.accepted() >= BACKLOG }).await;
    let settled = ledger.orders().await.len();
    assert!(settled < 1_000, "{settled} orders were settled: there is no backlog");
    let before = metric(&settler, CLOSED).await;
    shop.servers.kill("redis", "KILL").await.unwrap();
    crowd.accepts(500).await;
    wait_until("the closed time is known", || async { metric(&settler, CLOSED).await > before })
        .await;
    let closed = metric(&settler, CLOSED).await - before;
    let told = crowd.go_home().await;
    shop.of_settlers.amqp.heal();
    assert_eq!(told.check(&ledger).await, 0, "I7");
    assert!(told.contradicted.is_empty(), "I11");
    wait_quiet(&shop.servers, &ledger).await;
    assert!(closed < CLOSED_MAX_SECONDS, "the sale was closed for {closed} s");
    shop.close().await;
}

/// The newest incremental append-only file.
fn newest_file(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().unwrap()
}

/// F16: Redis loses its tail, while an edge is frozen that holds those very orders and publishes
/// them after Redis was vouched for again. They are judged by their epoch: those whose user bought
/// again are rejected, the others confirmed and adopted, and nothing is sold twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_a_lost_tail_that_arrive_late_are_judged_by_their_epoch() {
    const STOCK: i64 = 100;
    let both = [NO_RELAY, NO_SWEEPER];
    let plan = Plan { edges: 2, settlers: 1, stock: STOCK, settler_env: &both, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let [first, second] = ["edge-1", "edge-2"].map(|name| shop.edges.url(name).unwrap());
    let known = accepted(&first, 1..=20).await;
    wait_settled(&ledger, &known).await;
    wait_quiet(&shop.servers, &ledger).await;
    let epoch = sale_field(&redis(&shop.servers).await, "epoch").await;

    // Twenty are told 202 on the strength of the outbox; only the edge knows them besides.
    shop.of_edges.amqp.refuse();
    shop.of_edges.amqp.cut();
    let tail = newest_file(&shop.servers.dir().join("redis/appendonlydir"));
    let kept = std::fs::metadata(&tail).unwrap().len();
    let lost = accepted(&first, 21..=40).await;
    shop.edges.kill("edge-1", "STOP").await.unwrap();
    shop.servers.kill("redis", "STOP").await.unwrap();
    std::fs::OpenOptions::new().write(true).open(&tail).unwrap().set_len(kept).unwrap();
    shop.servers.kill("redis", "KILL").await.unwrap();
    wait_running(&shop.servers, "redis").await;

    // The sale is open again in another epoch; half of the twenty buy again, and others do.
    wait_until("the sale is open again", || async {
        let answer = buy(&second, 21).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 202 | 409 | 503), "{answer:?}");
        answer.status != 503
    })
    .await;
    let redis = redis(&shop.servers).await;
    assert!(sale_field(&redis, "epoch").await > epoch, "vouched for under a later epoch");
    let again = accepted(&second, 22..=30).await;
    let others = accepted(&second, 41..=70).await;
    shop.of_edges.amqp.heal();
    wait_settled(&ledger, &again).await;
    wait_settled(&ledger, &others).await;
    shop.edges.kill("edge-1", "CONT").await.unwrap();

    wait_until("the late orders have their outcome", || async {
        let orders = ledger.orders().await;
        lost.iter().all(|id| orders.contains_key(id))
    })
    .await;
    wait_quiet(&shop.servers, &ledger).await;
    let orders = ledger.orders().await;
    let count = |ids: &[String]| ids.iter().filter(|id| orders[*id] == "rejected").count();
    assert_eq!(count(&known) + count(&again) + count(&others), 0, "I7: only what Redis lost");
    assert_eq!((count(&lost[..10]), count(&lost[10..])), (10, 0), "I5, I7");
    let owner = buy(&second, 40).await.unwrap();
    assert_eq!(owner.text("reservation_id"), lost[19], "I11: adopted");
    // Twenty, ten again, thirty others and ten late ones: thirty units are left, not forty.
    let rest = accepted(&second, 71..=100).await;
    assert_eq!(buy(&second, 101).await.unwrap().text("code"), "SOLD_OUT");
    wait_settled(&ledger, &rest).await;
    wait_quiet(&shop.servers, &ledger).await;
    assert_eq!(ledger.number("SELECT stock FROM products WHERE id = 1").await, 0, "I9");
    shop.close().await;
}

/// F17: every key of Redis is gone, twice, in the middle of a sale. Buyers are turned away for a
/// moment, never told that a sale is sold out that is not; everyone who bought is known again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_turns_buyers_away_and_never_says_sold_out() {
    let (stack, ledger) = selling().await;
    let crowd = Crowd::gentle(stack.http());
    for _ in 0..2 {
        crowd.accepts(200).await;
        let mut redis = redis(&stack).await;
        ::redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
        crowd.accepts(200).await;
    }
    let told = crowd.go_home().await;
    let rejected = told.check(&ledger).await;
    // Only who asked again, within the moment an order is on its way, can have been accepted twice.
    assert!(rejected <= told.contradicted.len(), "I7: {rejected} rejected");
    wait_quiet(&stack, &ledger).await;
    let owner = *ledger.owners().await.first().unwrap();
    let answer = buy(stack.http(), owner).await.unwrap();
    assert_eq!(answer.text("code"), "ALREADY_PURCHASED", "I5");
    stack.shutdown().await;
}

/// F19: the scripts are flushed ten times a second; no buyer notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_scripts_are_loaded_again_and_no_buyer_notices() {
    const FLUSHES: u32 = 50;
    let (stack, ledger) = selling().await;
    let crowd = Crowd::gentle(stack.http());
    let mut redis = redis(&stack).await;
    for _ in 0..FLUSHES {
        ::redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = crowd.go_home().await;
    assert!(told.unknown.is_empty() && told.turned_away.is_empty(), "{told:?}");
    assert!(told.accepted.len() > 200, "{} bought", told.accepted.len());
    assert_eq!(told.check(&ledger).await, 0, "I7");
    wait_quiet(&stack, &ledger).await;
    stack.shutdown().await;
}

/// How long Redis is frozen.
const FROZEN: Duration = Duration::from_secs(5);

/// F20: Redis is frozen for 5 s. Calls that reach it after the thaw, when their buyers have long
/// been told that nobody knows, reserve nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thawed_redis_reserves_nothing_for_calls_that_are_past_their_deadline() {
    let (stack, ledger) = selling().await;
    let ids = accepted(stack.http(), 1..=10).await;
    wait_settled(&ledger, &ids).await;
    stack.kill("redis", "STOP").await.unwrap();
    let frozen = Instant::now();
    let mut buyers = JoinSet::new();
    let http: Arc<str> = stack.http().into();
    for user in 1001..=1050 {
        let http = http.clone();
        buyers.spawn(async move { (user, buy(&http, user).await.unwrap()) });
    }
    let answers = buyers.join_all().await;
    let took = frozen.elapsed();
    assert!(took < FROZEN, "the answers took {took:?}: their calls may still be in time");
    tokio::time::sleep(FROZEN - took).await;
    stack.kill("redis", "CONT").await.unwrap();
    wait_until("Redis sells again", || async {
        buy(stack.http(), 11).await.unwrap().status != 503
    })
    .await;
    let redis = redis(&stack).await;
    for (user, answer) in answers {
        assert_eq!(answer.status, 503, "user {user}: {answer:?}");
        let ghost = reservation(&redis, user).await;
        assert_eq!(ghost, None, "user {user} was told {:?}", answer.text("code"));
    }
    wait_quiet(&stack, &ledger).await;
    assert_eq!(ledger.orders().await.len(), 11);
    stack.shutdown().await;
}
