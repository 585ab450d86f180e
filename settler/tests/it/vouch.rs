//! Vouching against a real Redis and PostgreSQL: fresh, restarted, emptied, and duelled over.

use std::time::Duration;

use books::effects::Effects;
use domain::contract::keys;
use redis::Value;
use service::redis_pool::{RedisCalls, RedisPool};
use settler::gatekeeper::node::{judge_info, read_info};
use settler::gatekeeper::vouch::{Vouched, Voucher};
use settler::settle::settle_batch;
use stack::Server;

use crate::fixture::{Servers, batch, id, keyed, order, product, wait_until};

/// A part of the few milliseconds that vouching takes here.
const STAGGER: Duration = Duration::from_micros(500);

struct Gate {
    servers: Servers,
    redis: RedisPool,
}

impl Gate {
    async fn start(stock: i64) -> Self {
        let servers = Servers::start(&[Server::Postgres, Server::Redis]).await;
        servers.sell(stock, 0).await;
        let redis = servers.redis();
        Self { servers, redis }
    }

    async fn info(&self) -> String {
        read_info(&self.redis, &keys::sale(product())).await.unwrap()
    }

    async fn vouch(&self) -> Vouched {
        let node = judge_info(&self.info().await).unwrap();
        let effects = Effects::new(self.redis.clone());
        let voucher = Voucher::new(self.redis.clone());
        let mut client = self.servers.pool.get().await.unwrap();
        voucher.vouch(&mut client, &effects, product(), &node).await.unwrap()
    }

    /// Vouches and returns how many holders the node had lost.
    async fn adopted(&self) -> i64 {
        match self.vouch().await {
            Vouched::Opened { adopted, .. } => adopted,
            Vouched::Outrun => panic!("outrun by nobody"),
        }
    }

    async fn fields<const N: usize>(&self, fields: [&str; N]) -> Vec<Option<String>> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::sale(product())).arg(&fields);
        redis::from_redis_value(self.redis.query(&command).await.unwrap()).unwrap()
    }

    async fn available(&self) -> i64 {
        self.fields(["available"]).await[0].as_ref().unwrap().parse().unwrap()
    }

    async fn holder(&self, user: i64) -> Option<String> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::buyers(product())).arg(user);
        redis::from_redis_value(self.redis.query(&command).await.unwrap()).unwrap()
    }

    /// Reserves one unit in Redis as `reserve.lua` records it, without the script.
    async fn reserve(&self, number: u128, user: i64, seq: i64) {
        let mut pipeline = redis::pipe();
        let sale = keys::sale(product());
        pipeline.cmd("HINCRBY").arg(&sale).arg("available").arg(-1);
        pipeline.cmd("HSET").arg(&sale).arg("seq").arg(seq);
        pipeline.cmd("HSET").arg(keys::buyers(product())).arg(user);
        pipeline.arg(format!("{}|1|{seq}", id(number)));
        let replies = self.redis.query_pipeline(&pipeline).await.unwrap();
        assert!(replies.iter().all(|reply| matches!(reply, Value::Int(_))), "{replies:?}");
    }
}

#[tokio::test]
async fn a_fresh_node_is_loaded_and_opened() {
    let gate = Gate::start(10).await;
    assert_eq!(gate.adopted().await, 0);
    let fields = gate.fields(["epoch", "available", "stock", "seq", "rev", "state"]).await;
    let fields: Vec<_> = fields.into_iter().map(Option::unwrap).collect();
    assert_eq!(fields, ["1", "10", "10", "0", "0", "open"]);
}

#[tokio::test]
async fn a_node_that_lost_nothing_adopts_nothing_and_one_that_lost_all_gets_all() {
    let gate = Gate::start(10).await;
    gate.vouch().await;
    for (number, user) in [(1, 101), (2, 102)] {
        gate.reserve(number, user, i64::try_from(number).unwrap()).await;
    }
    let last = keyed(order(2, 102, 2));
    let settled = [batch(1, &[order(1, 101, 1), last])];
    settle_batch(&gate.servers.pool, &settled).await.unwrap();
    assert_eq!(gate.adopted().await, 0, "the node remembers both");
    assert_eq!(gate.available().await, 8);
    gate.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    assert_eq!(gate.adopted().await, 2, "the node remembers nobody");
    assert_eq!(gate.available().await, 8);
    assert_eq!(gate.holder(101).await.unwrap(), format!("{}|1|1", id(1)));
    assert_eq!(gate.holder(102).await.unwrap(), last.holder().encode(), "with its key");
    assert_eq!(gate.fields(["seq"]).await[0].as_deref(), Some("2"));
}

#[tokio::test]
async fn a_node_that_lost_its_tail_gets_only_what_it_lost() {
    let gate = Gate::start(10).await;
    gate.vouch().await;
    gate.reserve(1, 101, 1).await;
    // The second reservation was made too, settled, and then lost by the node.
    let settled = [batch(1, &[order(1, 101, 1), order(2, 102, 2)])];
    settle_batch(&gate.servers.pool, &settled).await.unwrap();
    assert_eq!(gate.adopted().await, 1);
    assert_eq!(gate.available().await, 8);
    assert!(gate.holder(102).await.is_some());
}

#[tokio::test]
async fn a_late_order_displaces_its_rival_exactly_once() {
    let gate = Gate::start(10).await;
    gate.vouch().await;
    // User 101 reserved in epoch 1, the node lost it, and user 101 reserved again in epoch 2.
    gate.vouch().await;
    gate.reserve(2, 101, 1).await;
    let late = keyed(order(1, 101, 1));
    settle_batch(&gate.servers.pool, &[batch(1, &[late])]).await.unwrap();
    let rival = [batch(2, &[order(2, 101, 1)])];
    settle_batch(&gate.servers.pool, &rival).await.unwrap();
    for _ in 0..2 {
        assert_eq!(gate.adopted().await, 0);
        let holder = gate.holder(101).await.unwrap();
        assert_eq!(holder, late.holder().encode(), "the one that holds, with its key");
        assert_eq!(gate.available().await, 9, "I4: one unit is held, none is reserved twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gatekeepers_at_once_do_no_harm() {
    let gate = Gate::start(10).await;
    gate.vouch().await;
    let settled = [batch(1, &[order(1, 101, 1), order(2, 102, 2), order(3, 103, 3)])];
    settle_batch(&gate.servers.pool, &settled).await.unwrap();
    // The second sets out a little later each time, so that it meets every step of the first.
    for round in 0..60 {
        gate.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
        let second = async {
            tokio::time::sleep(STAGGER * (round % 20)).await;
            duel(&gate).await;
        };
        tokio::join!(duel(&gate), second);
        // Whoever came second may have closed what the first opened, and opened it again.
        wait_until("the sale is open", || async {
            if gate.fields(["vouch"]).await[0].is_none() {
                gate.vouch().await;
            }
            gate.fields(["vouch"]).await[0].is_some()
        })
        .await;
        assert_eq!(gate.available().await, 7);
        assert!(gate.holder(103).await.is_some());
    }
}

/// A gatekeeper that may be refused because another one came later.
async fn duel(gate: &Gate) {
    let node = judge_info(&gate.info().await).unwrap();
    let effects = Effects::new(gate.redis.clone());
    let voucher = Voucher::new(gate.redis.clone());
    let mut client = gate.servers.pool.get().await.unwrap();
    let vouched = voucher.vouch(&mut client, &effects, product(), &node).await;
    if let Err(error) = vouched {
        assert!(matches!(error, books::effects::EffectsError::Closed), "{error}");
    }
}
