//! Holds against a real PostgreSQL and Redis: a sale that holds, and what is done to its orders.
//!
//! `rules` holds what each resolution does, `races` that it is done once.

mod races;
mod rules;

use std::collections::BTreeMap;
use std::time::Instant;

use books::effects::Effects;
use books::holds::{self, Refusal, Reservation, Resolved};
use books::records;
use books::report::Report;
use domain::contract::keys;
use domain::{Epoch, OrderStatus, ReservationId};
use futures_util::future::join_all;
use redis::Value;
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use settler::expiry::expire_due;
use settler::gatekeeper::compare::{Step, catch_up, compare_all};
use settler::gatekeeper::node::{judge_info, read_info};
use settler::gatekeeper::vouch::Voucher;
use settler::settle::settle_batch;
use stack::Server;

use crate::fixture::{DEADLINE, Servers, batch, id, order, product, wait_until};

const RESERVE: &str = include_str!("../../../../lua/reserve.lua");

/// A sale with holds, open in Redis.
pub(super) struct Shop {
    pub(super) servers: Servers,
    pub(super) redis: RedisPool,
    pub(super) reserve: LoadedScript,
    pub(super) effects: Effects,
}

impl Shop {
    pub(super) async fn open(stock: i64, hold_seconds: i32) -> Self {
        let servers = Servers::start(&[Server::Postgres, Server::Redis]).await;
        servers.sell(stock, 0).await;
        let redis = servers.redis();
        let effects = Effects::new(redis.clone());
        let shop = Self { servers, redis, reserve: LoadedScript::new(RESERVE), effects };
        shop.execute(&format!("UPDATE products SET hold_seconds = {hold_seconds}")).await;
        shop.keep_the_gate().await;
        shop
    }

    pub(super) async fn execute(&self, statement: &str) {
        self.servers.pool.get().await.unwrap().batch_execute(statement).await.unwrap();
    }

    /// What the leading settler does ten times a second: vouch, or tell what is missing.
    pub(super) async fn keep_the_gate(&self) {
        let node = judge_info(&read_info(&self.redis, "sale:{1}").await.unwrap()).unwrap();
        let mut client = self.servers.pool.get().await.unwrap();
        let sales = records::list(&client, None).await.unwrap();
        for step in compare_all(&self.redis, &sales, &node).await.unwrap() {
            match step {
                Step::Nothing | Step::Update => {}
                Step::Tell { applied } => {
                    catch_up(&self.effects, &client, &sales[0], applied).await.unwrap();
                }
                Step::Vouch { .. } => {
                    let voucher = Voucher::new(self.redis.clone());
                    voucher.vouch(&mut client, &self.effects, product(), &node).await.unwrap();
                }
            }
        }
    }

    /// One unit for this user, through the script; `None` when it is refused.
    pub(super) async fn reserve(&self, number: u128, user: i64) -> Option<Reservation> {
        let names = [keys::sale(product()), keys::buyers(product()), keys::outbox(product())];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut command = self.reserve.command(&names);
        command.arg(i64::MAX / 4).arg(1_000_000).arg(1).arg(user).arg(id(number).to_string());
        let reply = self.redis.call(&self.reserve, &command).await.unwrap();
        let Value::Array(reply) = reply else { panic!("{reply:?}") };
        let [_, _, Value::Int(epoch), Value::Int(before), _, _, codes] = reply.as_slice() else {
            return None;
        };
        if *codes != Value::BulkString(vec![0]) {
            return None;
        }
        let (seq, epoch) = (before + 1, Epoch(*epoch));
        Some(Reservation { product: product(), epoch, order: order(number, user, seq) })
    }

    /// Settles it, as a settler that gets its message.
    pub(super) async fn settle(&self, reservation: &Reservation) {
        let batches = [batch(reservation.epoch.0, &[reservation.order])];
        let settled = settle_batch(&self.servers.pool, &batches).await.unwrap();
        for report in settled.reports {
            self.tell(&report).await;
        }
    }

    pub(super) async fn tell(&self, report: &Report) {
        let client = self.servers.pool.get().await.unwrap();
        // A sale that is closed meanwhile is the gatekeeper's.
        let _ = report.tell(&self.effects, &client).await;
    }

    pub(super) async fn cancel(&self, id: ReservationId) -> Resolved {
        let mut client = self.servers.pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let resolved = holds::cancel(&transaction, id).await.unwrap();
        transaction.commit().await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(super) async fn cancel_queued(&self, reservation: &Reservation) -> Resolved {
        let mut client = self.servers.pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let resolved = holds::cancel_queued(&transaction, reservation).await.unwrap();
        transaction.commit().await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(super) async fn pay(&self, id: ReservationId) -> Resolved {
        let client = self.servers.pool.get().await.unwrap();
        let resolved = holds::pay(&client, id).await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(super) async fn told(&self, resolved: Resolved) -> Resolved {
        if let Resolved::Now(report) = &resolved {
            self.tell(report).await;
        }
        resolved
    }

    /// Expires what is due; how many orders.
    pub(super) async fn expire(&self) -> usize {
        let expired = expire_due(&self.servers.pool, 500).await.unwrap();
        for report in &expired.reports {
            self.tell(report).await;
        }
        expired.reports.iter().map(|report| report.settled.len()).sum()
    }

    pub(super) async fn status(&self, id: ReservationId) -> String {
        let client = self.servers.pool.get().await.unwrap();
        let query = "SELECT status FROM orders WHERE id = $1";
        client.query_one(query, &[&id.0]).await.unwrap().get(0)
    }

    /// What Redis can reserve, and who holds units by it. An emptying that was under way when the
    /// races ended may still come, so the gate is kept until there is a sale.
    async fn gate(&self) -> (i64, BTreeMap<i64, String>) {
        let started = Instant::now();
        loop {
            self.keep_the_gate().await;
            let mut all = redis::pipe();
            all.cmd("HGET").arg(keys::sale(product())).arg("available");
            all.cmd("HGETALL").arg(keys::buyers(product()));
            let replies = self.redis.query_pipeline(&all).await.unwrap();
            let (available, buyers): (Option<i64>, _) =
                redis::from_redis_value(Value::Array(replies)).unwrap();
            if let Some(available) = available {
                return (available, buyers);
            }
            assert!(started.elapsed() < DEADLINE, "no gatekeeper brings the sale back");
        }
    }

    /// I1, I2 and, as everything is settled, I4: Redis can reserve what PostgreSQL holds, and knows
    /// exactly the orders that hold units.
    pub(super) async fn assert_quiet_and_equal(&self) {
        self.servers.assert_ledger_adds_up().await;
        let (available, buyers) = self.gate().await;
        let stock = self.servers.number("SELECT stock FROM products").await;
        assert_eq!(available, stock, "I4: available is not the stock");
        let client = self.servers.pool.get().await.unwrap();
        let query = "SELECT user_id, id::text FROM orders \
                     WHERE status IN ('confirmed', 'held', 'paid') ORDER BY user_id";
        let rows = client.query(query, &[]).await.unwrap();
        let holders: Vec<(i64, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        let buyers = buyers.into_iter().map(|(user, holder)| (user, holder[..36].to_owned()));
        assert_eq!(buyers.collect::<Vec<_>>(), holders, "I4: other holders in Redis");
        let gaps = "SELECT coalesce(max(n), 0) - count(*) FROM effects";
        assert_eq!(self.servers.number(gaps).await, 0, "effects are numbered without gaps");
    }
}

pub(super) fn is_now(resolved: &Resolved) -> bool {
    matches!(resolved, Resolved::Now(_))
}
