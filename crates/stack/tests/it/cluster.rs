//! A Redis Cluster of three primaries, each holding one product: everything sells, each node is
//! vouched for by itself, and one that is away closes its own product and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use stack::{Stack, StackOptions};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::buyer::{Ledger, get, post_buy};
use crate::crowd::{Crowd, Told};
use crate::reconcile::reconcile;
use crate::stats::wait_heard;
use crate::wait::{wait_running, wait_until};

/// A product of each node, in the order of the nodes (CLUSTER KEYSLOT: 1584, 9842, 14039).
const PRODUCTS: [u64; 3] = [3, 1, 4];
/// How long a node is away: longer than it takes the others to call it failed.
const AWAY: Duration = Duration::from_secs(4);

async fn shop(stock: i64) -> (Stack, Ledger) {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "500".to_owned())];
    let options = StackOptions { redis_nodes: 3, stock, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let ledger = Ledger::open(&stack).await;
    for product in PRODUCTS.into_iter().filter(|product| *product != 1) {
        let insert = format!(
            "INSERT INTO products (id, name, price_minor, currency, stock, total) \
             VALUES ({product}, 'Product {product}', 100, 'THB', {stock}, {stock})"
        );
        ledger.execute(&insert).await;
    }
    for edge in ["edge-1", "edge-2", "edge-3"].map(|name| stack.url(name).unwrap()) {
        wait_until("every edge knows every product, and it is open", || async {
            let answer = get(&edge, "/api/products").await.unwrap();
            let products = answer.body["products"].as_array().map(Vec::as_slice);
            let open = products.unwrap_or_default().iter().filter(|p| p["available"] == stock);
            open.count() == PRODUCTS.len()
        })
        .await;
    }
    (stack, ledger)
}

async fn node(stack: &Stack, number: usize) -> MultiplexedConnection {
    let client = redis::Client::open(stack.url(&format!("redis-{number}")).unwrap()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(node: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).query_async(node).await.unwrap()
}

/// Status, code and reservation id of one press.
async fn press(http: &str, product: u64, user: u64) -> (u16, String, String) {
    let body = format!(r#"{{"user_id":{user},"product_id":{product}}}"#);
    let answer = post_buy(http, body).await.unwrap();
    let text = |field| answer.text(field).to_owned();
    (answer.status.as_u16(), text("code"), text("reservation_id"))
}

/// Every node holds one product, and that product alone is vouched for by this node's replid.
async fn assert_each_node_is_vouched_for_by_itself(stack: &Stack) {
    let mut replids = BTreeSet::new();
    for (number, product) in (1..).zip(PRODUCTS) {
        let mut node = node(stack, number).await;
        let sales: Vec<String> = ask(&mut node, &["KEYS", "sale:*"]).await;
        let sale = format!("sale:{{{product}}}");
        assert_eq!(sales, std::slice::from_ref(&sale), "node {number}");
        let vouch: String = ask(&mut node, &["HGET", &sale, "vouch"]).await;
        let info: String = ask(&mut node, &["INFO", "replication"]).await;
        assert!(info.contains(&format!("master_replid:{vouch}")), "node {number}: {vouch}");
        replids.insert(vouch);
    }
    assert_eq!(replids.len(), 3, "three nodes, three lives");
}

/// I1, I4, I8: everything is settled, and the reconciler compared every product and is content.
async fn assert_books_add_up(stack: &Stack) {
    wait_until("the reconciler is content", || async {
        let (fine, said) = reconcile(stack, &[]);
        assert!(fine, "{said}");
        said.contains("all invariants hold") && said.matches("outbox 0; quiet").count() == 3
    })
    .await;
}

/// Reads the feed until it said that every product has no stock any more.
async fn follow_to_the_end(http: String) {
    let url = format!("{}/ws", http.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut ended = BTreeSet::new();
    while ended.len() < PRODUCTS.len() {
        let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["type"] == "stock" && frame["stock"] == 0 {
            ended.insert(frame["product_id"].as_u64().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_sells_products_of_three_nodes_and_the_books_add_up() {
    const STOCK: u64 = 200;
    const BUYERS: u64 = 300;
    let (stack, ledger) = shop(STOCK.cast_signed()).await;
    let feed = tokio::spawn(follow_to_the_end(stack.http().to_owned()));
    let mut buyers = JoinSet::new();
    for product in PRODUCTS {
        for first in 1..=10 {
            let http = stack.http().to_owned();
            buyers.spawn(async move {
                let mut told = Vec::new();
                for user in (first..=BUYERS).step_by(10) {
                    told.push((product, user, press(&http, product, user).await));
                }
                told
            });
        }
    }
    let told: Vec<_> = buyers.join_all().await.into_iter().flatten().collect();
    for product in PRODUCTS {
        let of = |status: u16, code: &str| {
            let same = |(p, _, (s, c, _)): &&(u64, u64, (u16, String, String))| {
                (*p, *s, c.as_str()) == (product, status, code)
            };
            told.iter().filter(same).count() as u64
        };
        assert_eq!((of(202, ""), of(400, "SOLD_OUT")), (STOCK, BUYERS - STOCK), "{product}");
        let settled = format!(
            "SELECT count(*) FROM orders WHERE product_id = {product} AND status = 'confirmed'"
        );
        wait_until("everything is settled", || async {
            ledger.number(&settled).await == STOCK.cast_signed()
        })
        .await;
        let stock = format!("SELECT stock FROM products WHERE id = {product}");
        assert_eq!(ledger.number(&stock).await, 0, "I9");
    }
    tokio::time::timeout(Duration::from_secs(10), feed).await.unwrap().unwrap();
    // Sold out from memory, too: an owner is never told so.
    for (product, user, (status, _, id)) in told.iter().step_by(17) {
        let again = press(stack.http(), *product, *user).await;
        let expected = match status {
            202 => (409, "ALREADY_PURCHASED".to_owned(), id.clone()),
            _ => (400, "SOLD_OUT".to_owned(), String::new()),
        };
        assert_eq!(again, expected, "product {product}, user {user}");
    }
    assert_each_node_is_vouched_for_by_itself(&stack).await;
    assert_books_add_up(&stack).await;
    stack.shutdown().await;
}

/// Crowds at every product; no two have a user in common.
fn crowds(http: &str, round: u64) -> [Crowd; 3] {
    PRODUCTS.map(|product| {
        let first_user = (10 * round + product) * 1_000_000;
        Crowd::of_product(http, product, first_user, 4, Duration::from_millis(20))
    })
}

/// Nobody who wanted one of these products noticed anything.
fn assert_undisturbed(told: &Told) {
    assert!(told.turned_away.is_empty() && told.unknown.is_empty(), "{told:?}");
    assert!(told.slowest < Duration::from_secs(1), "the slowest answer took {:?}", told.slowest);
}

/// The first node is away from `lose` to `find`, while everybody presses. A false "sold out" makes
/// a crowd panic.
async fn a_node_is_away(
    (stack, ledger): (&Stack, &Ledger),
    round: u64,
    lose: impl AsyncFnOnce(),
    find: impl AsyncFnOnce(),
) {
    let crowds = crowds(stack.http(), round);
    for crowd in &crowds {
        crowd.accepts(50).await;
    }
    lose().await;
    wait_until("its product answers 503", || async {
        press(stack.http(), PRODUCTS[0], round).await.0 == 503
    })
    .await;
    wait_heard(stack).await;
    let closed = crowds[0].accepted();
    let silences = tokio::join!(crowds[1].longest_silence(AWAY), crowds[2].longest_silence(AWAY));
    assert_eq!(crowds[0].accepted(), closed, "sold by nobody");
    let longest = silences.0.max(silences.1);
    assert!(longest < Duration::from_millis(700), "the others were silent for {longest:?}");
    find().await;
    crowds[0].accepts(50).await;
    let [first, second, third] = crowds;
    let first = first.go_home().await;
    assert!(!first.turned_away.is_empty() || !first.unknown.is_empty(), "{first:?}");
    for told in [second.go_home().await, third.go_home().await] {
        assert_undisturbed(&told);
        assert_eq!(told.check(ledger).await, 0, "I7");
    }
    assert_eq!(first.check(ledger).await, 0, "I7");
    assert!(first.contradicted.is_empty(), "I11");
    assert_books_add_up(stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_is_killed_or_silent_closes_its_own_product_and_no_other() {
    let (stack, ledger) = shop(1_000_000).await;
    // Killed; without its configuration it cannot start again.
    let config = stack.dir().join("redis-1.conf");
    let hidden = config.with_extension("hidden");
    let kill = async || {
        std::fs::rename(&config, &hidden).unwrap();
        stack.kill("redis-1", "KILL").await.unwrap();
    };
    let revive = async || {
        std::fs::rename(&hidden, &config).unwrap();
        wait_running(&stack, "redis-1").await;
    };
    a_node_is_away((&stack, &ledger), 1, kill, revive).await;
    // Silent, as a host is that lost its network: nobody refuses a connection.
    let freeze = async || stack.kill("redis-1", "STOP").await.unwrap();
    let thaw = async || stack.kill("redis-1", "CONT").await.unwrap();
    a_node_is_away((&stack, &ledger), 2, freeze, thaw).await;
    assert_each_node_is_vouched_for_by_itself(&stack).await;
    stack.shutdown().await;
}
