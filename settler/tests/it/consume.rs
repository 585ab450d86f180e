//! The settler program against real servers: poison, redelivery, the relay, starting in any order.

use std::time::{Duration, Instant};

use domain::contract::order_message;
use domain::contract::{keys, topology};
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueuePurgeOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Channel};
use service::redis_pool::{LoadedScript, RedisCalls};
use settler::consume::broker::TOPOLOGY;
use stack::{Stack, StackOptions};

use crate::fixture::{DEADLINE, Servers, batch, id, order, product, wait_until};

const RESERVE: &str = include_str!("../../../lua/reserve.lua");

/// A whole stack without edges: servers, a migrated database with the demo sale, one settler.
pub(crate) async fn settling(stock: i64) -> (Servers, Channel) {
    let options = StackOptions { edges: 0, settlers: 1, stock, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let pool = service::postgres::pool(stack.database_url(), "test", 4, "").unwrap();
    let (_, channel) = service::amqp::open(stack.amqp_url(), "test", &TOPOLOGY).await.unwrap();
    (Servers { stack, pool }, channel)
}

pub(crate) async fn publish(channel: &Channel, body: &[u8]) {
    let confirm = channel
        .basic_publish(
            topology::EXCHANGE.into(),
            topology::ROUTING_KEY.into(),
            BasicPublishOptions::default(),
            body,
            BasicProperties::default().with_delivery_mode(2),
        )
        .await
        .unwrap();
    confirm.await.unwrap();
}

async fn first_dead_letter(channel: &Channel) -> BasicGetMessage {
    let started = Instant::now();
    loop {
        let options = BasicGetOptions { no_ack: true };
        let dead = channel.basic_get(topology::DEAD_QUEUE.into(), options).await.unwrap();
        if let Some(dead) = dead {
            return dead;
        }
        assert!(started.elapsed() < DEADLINE, "the poison never became a dead letter");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// F12: one poisonous message among fifty.
#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_good_orders_are_settled() {
    let (servers, channel) = settling(100).await;
    channel.queue_purge(topology::DEAD_QUEUE.into(), QueuePurgeOptions::default()).await.unwrap();
    for n in 1..=50_u32 {
        let orders = [order(u128::from(n), i64::from(n), i64::from(n))];
        publish(&channel, &order_message::encode([&batch(1, &orders)])).await;
        if n == 25 {
            publish(&channel, b"{\"v\":1,\"batches\":\"poison\"}").await;
        }
    }
    wait_until("50 orders are settled", || async {
        servers.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await == 50
    })
    .await;
    let dead = first_dead_letter(&channel).await;
    assert_eq!(dead.delivery.data, b"{\"v\":1,\"batches\":\"poison\"}");
    let headers = dead.delivery.properties.headers().as_ref().unwrap();
    let reason = headers.inner().get(topology::DEAD_REASON_HEADER).unwrap();
    let AMQPValue::LongString(reason) = reason else { panic!("{reason:?}") };
    assert!(reason.to_string().contains("not an order message"), "{reason}");
    let options = BasicGetOptions { no_ack: true };
    let more = channel.basic_get(topology::DEAD_QUEUE.into(), options).await.unwrap();
    assert!(more.is_none(), "only the poison is dead");
    servers.assert_ledger_adds_up().await;
    servers.stack.shutdown().await;
}

#[tokio::test]
async fn what_a_dead_edge_left_in_the_outbox_is_relayed_and_settled() {
    let (servers, _channel) = settling(10).await;
    let redis = servers.redis();
    let script = LoadedScript::new(RESERVE);
    let (sale, buyers, outbox) =
        (keys::sale(product()), keys::buyers(product()), keys::outbox(product()));
    // What an edge does before it dies: reserve, and nothing else.
    let mut command = script.command(&[&sale, &buyers, &outbox]);
    command.arg(i64::MAX).arg(100).arg(1).arg(101).arg(id(1).to_string());
    redis.call(&script, &command).await.unwrap();
    wait_until("the order is confirmed", || async {
        servers.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await == 1
    })
    .await;
    wait_until("the outbox is empty", || async {
        let mut length = redis::cmd("XLEN");
        length.arg(&outbox);
        redis.query(&length).await.unwrap() == redis::Value::Int(0)
    })
    .await;
    servers.stack.shutdown().await;
}

#[tokio::test]
async fn a_settler_killed_with_orders_in_the_queue_settles_each_once() {
    let (servers, channel) = settling(1_000).await;
    for round in 0..5_u32 {
        for n in 1..=100_u32 {
            let number = round * 100 + n;
            let orders = [order(u128::from(number), i64::from(number), i64::from(number))];
            publish(&channel, &order_message::encode([&batch(1, &orders)])).await;
        }
        servers.stack.kill("settler-1", "KILL").await.unwrap();
    }
    wait_until("500 orders are settled", || async {
        servers.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await == 500
    })
    .await;
    assert_eq!(servers.number("SELECT stock FROM products").await, 500);
    servers.assert_ledger_adds_up().await;
    servers.stack.shutdown().await;
}

/// F12: the settler is killed six times while it holds a hundred good messages. The broker counts
/// each as a delivery; none of them may be taken for poison.
#[tokio::test]
async fn good_messages_outlive_six_settlers_that_were_killed_holding_them() {
    let (servers, channel) = settling(1_000).await;
    let mut blocker = servers.pool.get().await.unwrap();
    let lock = blocker.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM products WHERE id = 1 FOR UPDATE", &[]).await.unwrap();
    for n in 1..=100_u32 {
        let orders = [order(u128::from(n), i64::from(n), i64::from(n))];
        publish(&channel, &order_message::encode([&batch(1, &orders)])).await;
    }
    for _ in 0..6 {
        // Nothing waits for a consumer: the settler holds all of them.
        wait_until("the settler holds the messages", || async {
            service::amqp::depth(&channel, topology::QUEUE).await.unwrap() == 0
        })
        .await;
        servers.stack.kill("settler-1", "KILL").await.unwrap();
        wait_until("they are back in the queue", || async {
            service::amqp::depth(&channel, topology::QUEUE).await.unwrap() == 100
        })
        .await;
    }
    lock.rollback().await.unwrap();
    wait_until("100 orders are settled", || async {
        servers.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await == 100
    })
    .await;
    let dead = service::amqp::depth(&channel, topology::DEAD_QUEUE).await.unwrap();
    assert_eq!(dead, 0, "a good order is among the dead letters");
    servers.assert_ledger_adds_up().await;
    servers.stack.shutdown().await;
}

#[tokio::test]
async fn redis_killed_or_emptied_is_vouched_for_again() {
    let (servers, _channel) = settling(10).await;
    let redis = servers.redis();
    let vouch = || async {
        let mut get = redis::cmd("HGET");
        get.arg(keys::sale(product())).arg(keys::SALE_VOUCH_FIELD);
        let reply = redis.query(&get).await.ok()?;
        redis::from_redis_value::<Option<String>>(reply).ok()?
    };
    let first = vouch().await.expect("the stack was ready, so the sale was open");
    servers.stack.kill("redis", "KILL").await.unwrap();
    wait_until("the restarted node is vouched for", || async {
        vouch().await.is_some_and(|replid| replid != first)
    })
    .await;
    redis.query(&redis::cmd("FLUSHALL")).await.unwrap();
    wait_until("the emptied node is vouched for", || async { vouch().await.is_some() }).await;
    servers.stack.shutdown().await;
}
