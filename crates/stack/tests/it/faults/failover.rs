//! Another Redis takes over, one that lags behind, and later the first one returns.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use ::redis::aio::MultiplexedConnection;
use stack::proxy::{Direction, Proxy};
use tempfile::TempDir;

use super::shop::{Plan, Shop};
use super::{NO_RELAY, NO_SWEEPER, accepted, sale_field, wait_settled};
use crate::buyer::{Ledger, buy};
use crate::wait::wait_until;

/// A second Redis; killed when dropped.
struct Replica {
    process: Child,
    port: u16,
    password: String,
    _folder: TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Replica {
    /// Starts an empty Redis with the same password.
    fn start(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\nmasterauth {password}\n\
             dir \"{}\"\nsave \"\"\nappendonly yes\nmaxmemory-policy noeviction\n\
             repl-diskless-sync-delay 0\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("redis.conf"), config).unwrap();
        let process = Command::new("redis-server")
            .arg(folder.path().join("redis.conf"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port, password: password.to_owned(), _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    async fn connect(&self) -> MultiplexedConnection {
        let url = format!("redis://default:{}@127.0.0.1:{}/0", self.password, self.port);
        let client = ::redis::Client::open(url).unwrap();
        wait_until("the second Redis answers", || async {
            client.get_multiplexed_async_connection().await.is_ok()
        })
        .await;
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

async fn info(redis: &MultiplexedConnection) -> String {
    let mut info = ::redis::cmd("INFO");
    info.arg("replication").query_async(&mut redis.clone()).await.unwrap()
}

/// Makes one a replica of what listens at `master`, and waits until it has everything.
async fn follow(replica: &MultiplexedConnection, master: SocketAddr) {
    let mut replicaof = ::redis::cmd("REPLICAOF");
    replicaof.arg("127.0.0.1").arg(master.port());
    replicaof.exec_async(&mut replica.clone()).await.unwrap();
    wait_until("the replica follows", || async {
        info(replica).await.contains("master_link_status:up")
    })
    .await;
}

async fn promote(replica: &MultiplexedConnection) {
    let mut promote = ::redis::cmd("REPLICAOF");
    promote.arg("NO").arg("ONE").exec_async(&mut replica.clone()).await.unwrap();
}

fn address_in(url: &str) -> SocketAddr {
    let (_, host) = url.trim_end_matches("/0").rsplit_once('@').unwrap();
    host.parse().unwrap()
}

/// Both kinds of programs reach this Redis from now on.
fn aim(shop: &Shop, redis: SocketAddr) {
    shop.of_edges.redis.aim(redis);
    shop.of_settlers.redis.aim(redis);
}

/// Nobody may buy while nobody vouches: the settler is frozen.
async fn assert_closed(shop: &Shop, user: u64) {
    let answer = buy(shop.http(), user).await.unwrap();
    assert_eq!(answer.status, 503, "sold by a node nobody vouched for: {answer:?}");
}

async fn wait_open(shop: &Shop, user: u64) {
    wait_until("the sale is open again", || async {
        let answer = buy(shop.http(), user).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 202 | 409 | 503), "{answer:?}");
        answer.status != 503
    })
    .await;
}

/// Promotes a replica and reaches it from now on: closed while the settler is frozen, open after.
async fn take_over(shop: &Shop, replica: &MultiplexedConnection, at: SocketAddr, user: u64) {
    shop.settlers.kill("settler-1", "STOP").await.unwrap();
    promote(replica).await;
    aim(shop, at);
    assert_closed(shop, user).await;
    shop.settlers.kill("settler-1", "CONT").await.unwrap();
    wait_open(shop, user).await;
}

/// I4 on the node that sells now.
async fn wait_agrees(redis: &MultiplexedConnection, ledger: &Ledger) {
    wait_until("Redis agrees with PostgreSQL", || async {
        let stock = ledger.number("SELECT stock FROM products WHERE id = 1").await;
        sale_field(redis, "available").await == Some(stock)
    })
    .await;
    ledger.assert_adds_up().await;
}

/// F18: a replica that lags is promoted; what it missed is adopted before it sells. Then the first
/// node returns: as a replica that is promoted, and, worse, as it was, with its old vouch. Neither
/// sells on before it is vouched for again, and no order is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_and_the_node_that_comes_back_are_vouched_for_before_they_sell() {
    let both = [NO_RELAY, NO_SWEEPER];
    let plan = Plan { edges: 1, settlers: 1, stock: 1000, settler_env: &both, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let url = shop.servers.redis_url();
    let password = url.split_once("default:").unwrap().1.split_once('@').unwrap().0;
    let (lag, _) = Proxy::in_front_of(url).await.unwrap();
    let replica = Replica::start(password);
    let (one, two) = (super::redis(&shop.servers).await, replica.connect().await);
    let first_address = address_in(url);
    ::redis::cmd("CONFIG")
        .arg(&["SET", "masterauth", password])
        .exec_async(&mut one.clone())
        .await
        .unwrap();
    let mut ids = accepted(shop.http(), 1..=10).await;
    follow(&two, lag.address()).await;

    // What the replica never hears of.
    lag.black_hole(Direction::ToClient);
    ids.extend(accepted(shop.http(), 11..=30).await);
    wait_settled(&ledger, &ids).await;
    take_over(&shop, &two, replica.address(), 31).await;
    let owner = buy(shop.http(), 20).await.unwrap();
    assert_eq!(owner.text("reservation_id"), ids[19], "I11: adopted before it sold");
    ids.extend(accepted(shop.http(), 32..=40).await);
    wait_settled(&ledger, &ids).await;
    wait_agrees(&two, &ledger).await;

    // Failback, as an operator does it: the first node follows, and is promoted.
    follow(&one, replica.address()).await;
    take_over(&shop, &one, first_address, 41).await;
    ids.extend(accepted(shop.http(), 42..=50).await);
    wait_settled(&ledger, &ids).await;
    wait_agrees(&one, &ledger).await;

    // And as a network does it: the second node, long out of date, is reached again as it was.
    let epoch = sale_field(&one, "epoch").await;
    aim(&shop, replica.address());
    wait_until("the second node is vouched for again", || async {
        sale_field(&two, "epoch").await > epoch
    })
    .await;
    let owner = buy(shop.http(), 45).await.unwrap();
    assert_eq!(owner.text("reservation_id"), ids[42], "I11: adopted");
    wait_agrees(&two, &ledger).await;
    shop.close().await;
}
