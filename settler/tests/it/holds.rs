//! Holds against a real PostgreSQL and Redis: resolved once, whatever races or is lost meanwhile.

use books::effects::Effects;
use books::holds::{self, Refusal, Reservation, Resolved};
use books::report::Report;
use domain::contract::keys;
use domain::{Epoch, OrderStatus, ReservationId};
use redis::Value;
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use settler::expiry::expire_due;
use settler::gatekeeper::compare::{Step, catch_up, compare_all};
use settler::gatekeeper::node::{judge_info, read_info};
use settler::gatekeeper::sales::list_sales;
use settler::gatekeeper::vouch::Voucher;
use settler::settle::settle_batch;
use stack::Server;

use crate::fixture::{Servers, batch, id, order, product};

const RESERVE: &str = include_str!("../../../lua/reserve.lua");

/// A sale with holds, open in Redis.
pub(crate) struct Shop {
    pub(crate) servers: Servers,
    pub(crate) redis: RedisPool,
    reserve: LoadedScript,
    effects: Effects,
}

impl Shop {
    pub(crate) async fn open(stock: i64, hold_seconds: i32) -> Self {
        let servers = Servers::start(&[Server::Postgres, Server::Redis]).await;
        servers.sell(stock, 0).await;
        let redis = servers.redis();
        let effects = Effects::new(redis.clone());
        let shop = Self { servers, redis, reserve: LoadedScript::new(RESERVE), effects };
        shop.execute(&format!("UPDATE products SET hold_seconds = {hold_seconds}")).await;
        shop.keep_the_gate().await;
        shop
    }

    pub(crate) async fn execute(&self, statement: &str) {
        self.servers.pool.get().await.unwrap().batch_execute(statement).await.unwrap();
    }

    /// What the leading settler does ten times a second: vouch, or tell what is missing.
    pub(crate) async fn keep_the_gate(&self) {
        let node = judge_info(&read_info(&self.redis).await.unwrap()).unwrap();
        let mut client = self.servers.pool.get().await.unwrap();
        let sales = list_sales(&client).await.unwrap();
        for step in compare_all(&self.redis, &sales, &node).await.unwrap() {
            match step {
                Step::Nothing => {}
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
    pub(crate) async fn reserve(&self, number: u128, user: i64) -> Option<Reservation> {
        let names = [keys::sale(product()), keys::buyers(product()), keys::outbox(product())];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut command = self.reserve.command(&names);
        command.arg(i64::MAX / 4).arg(1_000_000).arg(user).arg(1).arg(id(number).to_string());
        let reply = self.redis.call(&self.reserve, &command).await.unwrap();
        let Value::Array(reply) = reply else { panic!("{reply:?}") };
        let [_, _, epoch, _, _, _, code, holder] = reply.as_slice() else { return None };
        if *code != Value::Int(0) {
            return None;
        }
        let holder: String = redis::from_redis_value_ref(holder).unwrap();
        let seq = holder.rsplit('|').next().unwrap().parse().unwrap();
        let epoch = Epoch(redis::from_redis_value_ref(epoch).unwrap());
        Some(Reservation { product: product(), epoch, order: order(number, user, seq) })
    }

    /// Settles it, as a settler that gets its message.
    pub(crate) async fn settle(&self, reservation: &Reservation) {
        let batches = [batch(reservation.epoch.0, &[reservation.order])];
        let settled = settle_batch(&self.servers.pool, &batches).await.unwrap();
        for report in settled.reports {
            self.tell(&report).await;
        }
    }

    pub(crate) async fn tell(&self, report: &Report) {
        let client = self.servers.pool.get().await.unwrap();
        // A sale that is closed meanwhile is the gatekeeper's.
        let _ = report.tell(&self.effects, &client).await;
    }

    pub(crate) async fn cancel(&self, id: ReservationId) -> Resolved {
        let mut client = self.servers.pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let resolved = holds::cancel(&transaction, id).await.unwrap();
        transaction.commit().await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(crate) async fn cancel_queued(&self, reservation: &Reservation) -> Resolved {
        let mut client = self.servers.pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let resolved = holds::cancel_queued(&transaction, reservation).await.unwrap();
        transaction.commit().await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(crate) async fn pay(&self, id: ReservationId) -> Resolved {
        let client = self.servers.pool.get().await.unwrap();
        let resolved = holds::pay(&client, id).await.unwrap();
        drop(client);
        self.told(resolved).await
    }

    pub(crate) async fn told(&self, resolved: Resolved) -> Resolved {
        if let Resolved::Now(report) = &resolved {
            self.tell(report).await;
        }
        resolved
    }

    /// Expires what is due; how many orders.
    pub(crate) async fn expire(&self) -> usize {
        let expired = expire_due(&self.servers.pool, 500).await.unwrap();
        for report in &expired.reports {
            self.tell(report).await;
        }
        expired.reports.iter().map(|report| report.settled.len()).sum()
    }

    pub(crate) async fn status(&self, id: ReservationId) -> String {
        let client = self.servers.pool.get().await.unwrap();
        let query = "SELECT status FROM orders WHERE id = $1";
        client.query_one(query, &[&id.0]).await.unwrap().get(0)
    }

    /// I1, I2 and, as everything is settled, I4: Redis can reserve what PostgreSQL holds, and knows
    /// exactly the orders that hold units.
    pub(crate) async fn assert_quiet_and_equal(&self) {
        self.keep_the_gate().await;
        self.servers.assert_ledger_adds_up().await;
        let mut all = redis::pipe();
        all.cmd("HGET").arg(keys::sale(product())).arg("available");
        all.cmd("HGETALL").arg(keys::buyers(product()));
        let replies = self.redis.query_pipeline(&all).await.unwrap();
        let (available, buyers): (i64, std::collections::BTreeMap<i64, String>) =
            redis::from_redis_value(Value::Array(replies)).unwrap();
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

pub(crate) fn is_now(resolved: &Resolved) -> bool {
    matches!(resolved, Resolved::Now(_))
}

#[tokio::test]
async fn a_held_order_is_paid_once_and_cannot_be_given_back() {
    let shop = Shop::open(10, 60).await;
    let paid = shop.reserve(1, 101).await.unwrap();
    assert_eq!(shop.pay(id(1)).await, Resolved::Unknown, "not settled yet");
    shop.settle(&paid).await;
    assert_eq!(shop.status(id(1)).await, "held");
    let resolved = shop.pay(id(1)).await;
    let Resolved::Now(report) = &resolved else { panic!("{resolved:?}") };
    assert_eq!(report.settled[0].status, OrderStatus::Paid);
    assert_eq!((report.stock, report.effects.len()), (9, 0), "a payment moves no units");
    assert_eq!(shop.pay(id(1)).await, Resolved::Before);
    assert_eq!(shop.cancel(id(1)).await, Resolved::Refused(Refusal::Paid));
    assert_eq!(shop.cancel_queued(&paid).await, Resolved::Refused(Refusal::Paid));
    shop.execute("UPDATE orders SET expires_at = now() - interval '1 hour'").await;
    assert_eq!(shop.expire().await, 0, "what is paid does not expire");
    assert_eq!(shop.pay(id(1)).await, Resolved::Before);
    shop.assert_quiet_and_equal().await;
}

#[tokio::test]
async fn a_sale_without_holds_confirms_at_once_and_resolves_nothing() {
    let shop = Shop::open(10, 0).await;
    let reservation = shop.reserve(1, 101).await.unwrap();
    let refused = Resolved::Refused(Refusal::NoHold);
    assert_eq!(shop.cancel_queued(&reservation).await, refused, "it is on its way");
    shop.settle(&reservation).await;
    assert_eq!(shop.status(id(1)).await, "confirmed");
    assert_eq!(shop.pay(id(1)).await, refused);
    assert_eq!(shop.cancel(id(1)).await, refused);
    assert_eq!(shop.cancel_queued(&reservation).await, refused);
    assert_eq!(shop.expire().await, 0);
    shop.assert_quiet_and_equal().await;
}

#[tokio::test]
async fn whoever_cancelled_or_let_it_expire_may_buy_again() {
    let shop = Shop::open(1, 60).await;
    let first = shop.reserve(1, 101).await.unwrap();
    shop.settle(&first).await;
    assert_eq!(shop.reserve(2, 102).await, None, "sold out");
    assert!(is_now(&shop.cancel(id(1)).await));
    assert_eq!(shop.cancel(id(1)).await, Resolved::Before);
    assert_eq!(shop.pay(id(1)).await, Resolved::Refused(Refusal::Cancelled));
    let again = shop.reserve(3, 101).await.expect("the same buyer");
    shop.settle(&again).await;
    shop.execute("UPDATE orders SET expires_at = now() WHERE status = 'held'").await;
    let late = Resolved::Refused(Refusal::Expired);
    assert_eq!(shop.pay(id(3)).await, late, "too late, although nobody expired it yet");
    assert_eq!(shop.expire().await, 1);
    assert_eq!(shop.pay(id(3)).await, late);
    assert_eq!(shop.cancel(id(3)).await, late);
    assert!(shop.reserve(4, 101).await.is_some(), "the same buyer a third time");
}

#[tokio::test]
async fn an_order_cancelled_before_it_is_settled_stays_so_when_its_message_comes() {
    let shop = Shop::open(1, 60).await;
    let early = shop.reserve(1, 101).await.unwrap();
    assert!(is_now(&shop.cancel_queued(&early).await));
    assert_eq!(shop.cancel_queued(&early).await, Resolved::Before);
    shop.assert_quiet_and_equal().await;
    // The same buyer buys again, before the old message and after Redis lost everything.
    let again = shop.reserve(2, 101).await.expect("the unit is back");
    shop.settle(&again).await;
    shop.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    shop.keep_the_gate().await;
    shop.settle(&early).await;
    assert_eq!(shop.status(id(1)).await, "cancelled");
    assert_eq!(shop.status(id(2)).await, "held");
    shop.assert_quiet_and_equal().await;
}

/// An edge whose call had no answer repeats it with the same id. Meanwhile the buyer, told of the
/// order by another edge, gave it back.
#[tokio::test]
async fn a_call_repeated_after_its_order_was_given_up_reserves_nothing_for_good() {
    let shop = Shop::open(1, 60).await;
    let first = shop.reserve(1, 101).await.unwrap();
    assert!(is_now(&shop.cancel_queued(&first).await));
    let repeated = shop.reserve(1, 101).await.expect("Redis has forgotten this id");
    shop.settle(&first).await;
    shop.settle(&repeated).await;
    assert_eq!(shop.status(id(1)).await, "cancelled");
    shop.assert_quiet_and_equal().await;
    assert!(shop.reserve(2, 102).await.is_some(), "the unit is for sale");
}

#[tokio::test]
async fn a_cancelled_reservation_gives_its_place_back_to_an_order_redis_had_lost() {
    let shop = Shop::open(10, 60).await;
    // The first reservation is lost by Redis before its message is settled; the buyer, unknown,
    // buys again, and cancels the second.
    let lost = shop.reserve(1, 101).await.unwrap();
    shop.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    shop.keep_the_gate().await;
    let second = shop.reserve(2, 101).await.unwrap();
    shop.settle(&lost).await;
    assert!(is_now(&shop.cancel_queued(&second).await));
    assert_eq!(shop.reserve(3, 101).await, None, "the place is the first order's at once");
    shop.settle(&second).await;
    assert_eq!(shop.status(id(1)).await, "held");
    shop.assert_quiet_and_equal().await;
}

#[tokio::test]
async fn due_orders_are_found_through_their_index_and_expire_so_many_at_once() {
    let shop = Shop::open(30_000, 60).await;
    shop.execute(
        "INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reserved_at, \
         expires_at) SELECT lpad(to_hex(n), 32, '0')::uuid, 1, n, 1, 1, n, \
         CASE WHEN n <= 1200 THEN 'held' ELSE 'confirmed' END, now(), \
         CASE WHEN n <= 1200 THEN now() END FROM generate_series(1, 20000) AS n; \
         UPDATE products SET stock = stock - 20000; ANALYZE orders",
    )
    .await;
    let client = shop.servers.pool.get().await.unwrap();
    let query = format!("EXPLAIN {}", include_str!("../../../sql/list_due.sql"));
    let rows = client.query(&query, &[&500_i64]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("orders_expiry")), "{plan:?}");
    for expected in [500, 500, 200, 0] {
        let expired = expire_due(&shop.servers.pool, 500).await.unwrap();
        let orders: usize = expired.reports.iter().map(|report| report.settled.len()).sum();
        assert_eq!(orders, expected);
    }
    shop.servers.assert_ledger_adds_up().await;
}
