//! `reserve.lua` in a real Redis, one call at a time: batches of 1 and of 64, every unit sold once.
//!
//! Starts servers and a settler of its own, which load and vouch for a sale; then the settler is
//! stopped, so that only Redis works.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use domain::ProductId;
use domain::contract::keys;
use edge::reserve::script;
use redis::Value;
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool, RedisPoolSettings};
use stack::{Stack, StackOptions};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// More units than any run can sell.
const STOCK: i64 = 1_000_000_000;

struct Sale {
    redis: RedisPool,
    script: LoadedScript,
    keys: [String; 3],
    next_user: i64,
}

impl Sale {
    async fn reserve(&mut self, batch: usize) {
        let [sale, buyers, outbox] = &self.keys;
        let mut command = self.script.command(&[sale, buyers, outbox]);
        command.arg(i64::MAX).arg(u32::MAX).arg(batch);
        for _ in 0..batch {
            self.next_user += 1;
            command.arg(self.next_user);
        }
        for _ in 0..batch {
            command.arg(Uuid::now_v7().to_string());
        }
        let reply = self.redis.call(&self.script, &command).await.unwrap();
        let Value::Array(reply) = reply else { panic!("{reply:?}") };
        assert_eq!(reply[0], Value::Int(0), "the sale is open");
        let accepted = Value::BulkString(vec![0; batch]);
        assert_eq!(reply[6], accepted, "every request is accepted");
    }

    /// What a bench left is of no use to the next one.
    async fn forget_outbox(&self) {
        self.redis.query(redis::cmd("DEL").arg(&self.keys[2])).await.unwrap();
    }
}

async fn open_sale() -> (Stack, Sale) {
    let options = StackOptions { edges: 0, stock: STOCK, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    stack.stop("settler-1").await.unwrap();
    let settings = RedisPoolSettings {
        url: stack.redis_url().to_owned(),
        connections_max: 1,
        response_timeout: Duration::from_secs(5),
    };
    let product = ProductId::new(1).unwrap();
    let sale = Sale {
        redis: RedisPool::connect(&settings, &[&script()]).unwrap(),
        script: script(),
        keys: [keys::sale(product), keys::buyers(product), keys::outbox(product)],
        next_user: 0,
    };
    (stack, sale)
}

fn benches(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (stack, mut sale) = runtime.block_on(open_sale());
    let mut group = c.benchmark_group("reserve");
    for batch in [1, 64] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(BenchmarkId::new("batch", batch), &batch, |b, &batch| {
            b.iter(|| runtime.block_on(sale.reserve(batch)));
        });
        runtime.block_on(sale.forget_outbox());
    }
    group.finish();
    runtime.block_on(stack.shutdown());
}

criterion_group!(reserve_benches, benches);
criterion_main!(reserve_benches);
