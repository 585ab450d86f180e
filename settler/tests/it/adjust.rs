//! Adjustments against a real PostgreSQL and Redis that forgets, restarts and answers late.

use books::effects::Effects;
use books::error::{BooksError, Refusal};
use books::marks::{Marked, UnitMarks};
use books::office::Office;
use books::records;
use books::updates::SaleUpdates;
use domain::AdjustmentId;
use domain::contract::admin::AdjustStock;
use domain::contract::keys;
use redis::Value;
use service::redis_pool::{RedisCalls, RedisPool};
use settler::gatekeeper::compare::{Step, catch_up, compare_all};
use settler::gatekeeper::node::{judge_info, read_info};
use settler::gatekeeper::vouch::{Vouched, Voucher};
use stack::Server;
use uuid::Uuid;

use crate::fixture::{Servers, product};

struct Shop {
    servers: Servers,
    redis: RedisPool,
    office: Office,
    marks: UnitMarks,
    voucher: Voucher,
    effects: Effects,
    updates: SaleUpdates,
}

impl Shop {
    /// Ten units on sale, opened.
    async fn open() -> Self {
        let servers = Servers::start(&[Server::Postgres, Server::Redis]).await;
        servers.sell(10, 0).await;
        let redis = servers.redis();
        let shop = Self {
            office: Office::new(servers.pool.clone(), redis.clone()),
            marks: UnitMarks::new(redis.clone()),
            voucher: Voucher::new(redis.clone()),
            effects: Effects::new(redis.clone()),
            updates: SaleUpdates::new(redis.clone()),
            servers,
            redis,
        };
        shop.vouch().await;
        shop
    }

    async fn vouch(&self) {
        let node = judge_info(&read_info(&self.redis, "sale:{1}").await.unwrap()).unwrap();
        let mut client = self.servers.pool.get().await.unwrap();
        let vouched = self.voucher.vouch(&mut client, &self.effects, product(), &node).await;
        assert!(matches!(vouched, Ok(Vouched::Opened { .. })), "{vouched:?}");
    }

    async fn flush(&self) {
        self.redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    }

    async fn adjust(&self, delta: i64, key: &str) -> Result<(i64, i64, bool), BooksError> {
        let asked = AdjustStock { delta, reason: "a test".into(), key: key.into() };
        let view = self.office.adjust(product(), &asked).await?;
        Ok((view.stock, view.total, view.replayed))
    }

    async fn field(&self, name: &str) -> Option<String> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::sale(product())).arg(name);
        match self.redis.query(&command).await.unwrap() {
            Value::Nil => None,
            value => Some(redis::from_redis_value(value).unwrap()),
        }
    }

    /// What Redis can reserve, whether a mark stands, and the stock.
    async fn units(&self) -> (i64, bool, i64) {
        let available = self.field("available").await.unwrap().parse().unwrap();
        let marked = self.field(keys::SALE_WITHDRAWING_FIELD).await.is_some();
        let stock = self.servers.number("SELECT stock FROM products").await;
        (available, marked, stock)
    }

    /// A reduction whose edge noted it and went no further.
    async fn begin(&self, delta: i64, key: &str) -> AdjustmentId {
        let id = AdjustmentId(Uuid::now_v7());
        let insert = "INSERT INTO adjustments (id, product_id, delta, reason, idempotency_key, \
                      status) VALUES ($1, 1, $2, 'a test', $3, 'pending')";
        let client = self.servers.pool.get().await.unwrap();
        client.execute(insert, &[&id.0, &delta, &key]).await.unwrap();
        id
    }

    async fn mark(&self, id: AdjustmentId, units: i64, seen: i64) -> Marked {
        self.marks.withdraw(product(), id, units, seen).await.unwrap()
    }

    /// What the gatekeeper does a tenth of a second later.
    async fn catch_up(&self) {
        let client = self.servers.pool.get().await.unwrap();
        let node = judge_info(&read_info(&self.redis, "sale:{1}").await.unwrap()).unwrap();
        let sales = records::list(&client, None).await.unwrap();
        loop {
            match compare_all(&self.redis, &sales, &node).await.unwrap()[0] {
                Step::Nothing => return,
                Step::Update => assert!(self.updates.tell(&sales[0].settings()).await.unwrap()),
                Step::Tell { applied } => {
                    catch_up(&self.effects, &client, &sales[0], applied).await.unwrap();
                }
                Step::Vouch { .. } => panic!("somebody closed the gate"),
            }
        }
    }
}

#[tokio::test]
async fn units_are_added_and_taken_out_once_a_key() {
    let shop = Shop::open().await;
    assert_eq!(shop.adjust(5, "more").await.unwrap(), (15, 15, false));
    assert_eq!(shop.adjust(-3, "fewer").await.unwrap(), (12, 12, false));
    assert_eq!(shop.units().await, (12, false, 12));
    assert_eq!(shop.adjust(5, "more").await.unwrap(), (15, 15, true), "as it was told first");
    assert_eq!(shop.adjust(-3, "fewer").await.unwrap(), (12, 12, true));
    assert_eq!(shop.units().await, (12, false, 12));
    let reused = shop.adjust(4, "more").await;
    assert!(matches!(reused, Err(BooksError::Refused(Refusal::KeyReused))), "{reused:?}");
    let fields = [shop.field("total").await, shop.field("sale_version").await];
    assert_eq!(fields, [Some("12".to_owned()), Some("2".to_owned())]);
    shop.servers.assert_ledger_adds_up().await;
}

#[tokio::test]
async fn a_reduction_below_what_is_free_is_refused_for_good_and_changes_nothing() {
    let shop = Shop::open().await;
    for _ in 0..2 {
        let refused = shop.adjust(-11, "too many").await;
        let available = match &refused {
            Err(BooksError::Refused(refusal)) => refusal.available(),
            _ => None,
        };
        assert_eq!(available, Some(10), "{refused:?}");
        assert_eq!(shop.units().await, (10, false, 10));
        shop.adjust(5, "more").await.unwrap();
        // Now there are enough, but this key was told no.
        shop.adjust(-5, "back").await.unwrap();
    }
    assert_eq!(shop.servers.number("SELECT count(*) FROM effects").await, 2);
}

#[tokio::test]
async fn an_effect_nobody_told_is_told_by_the_gatekeeper_and_survives_a_lost_redis() {
    let shop = Shop::open().await;
    let (nobody, refused) = ("redis://127.0.0.1:1/", "an edge that cannot reach Redis");
    let settings = service::redis_pool::RedisPoolSettings {
        url: nobody.into(),
        connections_max: 1,
        response_timeout: std::time::Duration::from_millis(100),
    };
    let lonely = RedisPool::connect(&settings, &[]).unwrap();
    let office = Office::new(shop.servers.pool.clone(), lonely);
    let asked = AdjustStock { delta: 5, reason: "a test".into(), key: "k".into() };
    assert_eq!(office.adjust(product(), &asked).await.unwrap().stock, 15, "{refused}");
    assert_eq!(shop.units().await.0, 10, "not told yet");
    for _ in 0..2 {
        shop.catch_up().await;
        assert_eq!(shop.units().await, (15, false, 15), "exactly once");
    }
    shop.flush().await;
    shop.vouch().await;
    shop.catch_up().await;
    assert_eq!(shop.units().await, (15, false, 15));
}

#[tokio::test]
async fn a_mark_is_lost_kept_or_finished_by_another_and_the_units_go_once() {
    let shop = Shop::open().await;
    // Lost with Redis before PostgreSQL heard of it: the retry marks again.
    let id = shop.begin(-4, "lost").await;
    assert!(matches!(shop.mark(id, 4, 0).await, Marked::Marked { .. }));
    assert_eq!(shop.units().await, (6, true, 10));
    shop.flush().await;
    shop.vouch().await;
    assert_eq!(shop.units().await, (10, false, 10), "nothing is taken");
    assert_eq!(shop.adjust(-4, "lost").await.unwrap(), (6, 6, true));
    assert_eq!(shop.units().await, (6, false, 6));

    // Kept over a restart that lost nothing: it is still pending, so it stands.
    let id = shop.begin(-1, "kept").await;
    assert!(matches!(shop.mark(id, 1, 1).await, Marked::Marked { .. }));
    shop.vouch().await;
    assert_eq!(shop.units().await, (5, true, 6));
    let another = shop.adjust(-1, "another").await;
    assert!(matches!(another, Err(BooksError::Unavailable(_))), "one at a time: {another:?}");
    // The leading settler brings it to its end.
    shop.office.finish_marked(product(), id).await.unwrap();
    assert_eq!(shop.units().await, (5, false, 5));
    assert_eq!(shop.adjust(-1, "another").await.unwrap(), (4, 4, true), "and now the other");
    shop.servers.assert_ledger_adds_up().await;
}

#[tokio::test]
async fn a_reduction_marked_in_an_earlier_life_of_the_sale_is_recorded_in_the_next_only() {
    let shop = Shop::open().await;
    // Somebody begins to vouch for another node: what this one marks may never be seen again.
    let client = shop.servers.pool.get().await.unwrap();
    client.batch_execute("UPDATE products SET epoch = epoch + 1").await.unwrap();
    let early = shop.adjust(-4, "k").await;
    assert!(matches!(early, Err(BooksError::Unavailable(_))), "{early:?}");
    assert_eq!(shop.units().await, (6, true, 10), "marked, and not recorded");
    shop.vouch().await;
    assert_eq!(shop.adjust(-4, "k").await.unwrap(), (6, 6, true));
    assert_eq!(shop.units().await, (6, false, 6));
    shop.servers.assert_ledger_adds_up().await;
}

#[tokio::test]
async fn a_committed_reduction_meets_a_node_with_and_without_its_mark() {
    let shop = Shop::open().await;
    let id = shop.begin(-4, "k").await;
    assert!(matches!(shop.mark(id, 4, 0).await, Marked::Marked { .. }));
    // Committed by an edge that died before it told anybody.
    let client = shop.servers.pool.get().await.unwrap();
    let commit = format!(
        "UPDATE products SET stock = 6, total = 6, effect_seq = 1, version = version + 1;
         UPDATE adjustments SET status = 'applied', stock_after = 6, total_after = 6,
                decided_at = now();
         INSERT INTO effects (product_id, n, kind, quantity, adjustment_id)
         VALUES (1, 1, 'withdraw', 4, '{id}')"
    );
    client.batch_execute(&commit).await.unwrap();
    // The node kept the mark: vouching replays the effect, which clears it.
    shop.vouch().await;
    assert_eq!(shop.units().await, (6, false, 6), "with its mark");
    // A node that lost its tail with the mark: the effect takes the units itself.
    let mut tail = redis::pipe();
    tail.cmd("HSET").arg(keys::sale(product())).arg("available").arg(10).arg("applied").arg(0);
    shop.redis.query_pipeline(&tail).await.unwrap();
    shop.vouch().await;
    assert_eq!(shop.units().await, (6, false, 6), "without it");
    // A call that was on its way all along comes late.
    assert_eq!(shop.mark(id, 4, 0).await, Marked::Stale);
    assert_eq!(shop.units().await, (6, false, 6));
}

#[tokio::test]
async fn a_mark_of_a_refused_reduction_goes_with_the_next_look_or_the_next_vouch() {
    let shop = Shop::open().await;
    let refused = shop.adjust(-11, "k").await;
    assert!(matches!(refused, Err(BooksError::Refused(Refusal::NotEnoughFree { .. }))));
    let client = shop.servers.pool.get().await.unwrap();
    let id: Uuid = client.query_one("SELECT id FROM adjustments", &[]).await.unwrap().get(0);
    for vouch in [false, true] {
        // Its own late call, which finds units that were freed meanwhile.
        let late = shop.mark(AdjustmentId(id), 3, 0).await;
        assert!(matches!(late, Marked::Marked { .. }));
        assert_eq!(shop.units().await, (7, true, 10));
        if vouch {
            shop.vouch().await;
        } else {
            shop.office.finish_marked(product(), AdjustmentId(id)).await.unwrap();
        }
        assert_eq!(shop.units().await, (10, false, 10), "vouched: {vouch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_asked_for_at_once_by_many_counts_once() {
    let shop = Shop::open().await;
    for (delta, key) in [(3, "more"), (-5, "fewer")] {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (office, key) = (shop.office.clone(), key.to_owned());
            asked.spawn(async move {
                let asked = AdjustStock { delta, reason: "a test".into(), key };
                office.adjust(product(), &asked).await.unwrap().total
            });
        }
        let totals = asked.join_all().await;
        assert!(totals.iter().all(|total| *total == totals[0]), "{totals:?}");
    }
    assert_eq!(shop.units().await, (8, false, 8));
    assert_eq!(shop.servers.number("SELECT count(*) FROM adjustments").await, 2);
}

#[tokio::test]
async fn a_reset_sale_is_forgotten_by_a_node_that_remembers_it() {
    let shop = Shop::open().await;
    // One order, reserved and settled.
    let mut sold = redis::pipe();
    sold.cmd("HINCRBY").arg(keys::sale(product())).arg("available").arg(-1);
    let holder = format!("{}|1|1", Uuid::from_u128(1));
    sold.cmd("HSET").arg(keys::buyers(product())).arg(7).arg(holder);
    shop.redis.query_pipeline(&sold).await.unwrap();
    let client = shop.servers.pool.get().await.unwrap();
    let settle = "UPDATE products SET stock = 9;
         INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reserved_at)
         VALUES ('00000000-0000-0000-0000-000000000001', 1, 7, 1, 1, 1, 'confirmed', now())";
    client.batch_execute(settle).await.unwrap();
    let office = shop.office.clone();
    let reset = tokio::spawn(async move { office.reset(product()).await });
    crate::fixture::wait_until("it is reset", || async {
        shop.servers.number("SELECT count(*) FROM orders").await == 0
    })
    .await;
    shop.vouch().await;
    let view = reset.await.unwrap().unwrap();
    assert_eq!((view.stock, view.state, view.applied), (10, "open", true));
    assert_eq!(shop.units().await, (10, false, 10));
    let mut buyers = redis::cmd("EXISTS");
    buyers.arg(keys::buyers(product()));
    assert_eq!(shop.redis.query(&buyers).await.unwrap(), Value::Int(0), "user 7 may buy again");
    assert_eq!(shop.field("state").await.as_deref(), Some("open"));
}
