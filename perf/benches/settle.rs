//! Settlement in a real PostgreSQL, one transaction at a time: batches of 1 and of 500 new orders
//! of one product.
//!
//! Starts a PostgreSQL of its own.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use deadpool_postgres::Pool;
use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{Epoch, ProductId, Quantity, ReservationId, Seq, UserId};
use settler::commands;
use settler::settings::MigrateSettings;
use settler::settle::settle_batch;
use stack::{Server, Stack, StackOptions};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// More units than any run can sell.
const STOCK: i64 = 1_000_000_000;

async fn open_ledger() -> (Stack, Pool) {
    let stack = Stack::start(StackOptions::servers(&[Server::Postgres])).await.unwrap();
    let database_url = stack.database_url().to_owned();
    commands::migrate(&MigrateSettings { database_url: database_url.clone() }).await.unwrap();
    let pool = service::postgres::pool(&database_url, "bench", 1, "").unwrap();
    let insert = "INSERT INTO products (id, name, price_minor, currency, stock, total, epoch) \
                  VALUES (1, 'bench', 1, 'THB', $1, $1, 1)";
    pool.get().await.unwrap().execute(insert, &[&STOCK]).await.unwrap();
    (stack, pool)
}

/// Orders nobody has seen.
fn make_batch(next: &mut i64, size: i64) -> Vec<OrderBatch> {
    let order = |number| QueuedOrder {
        id: ReservationId(Uuid::now_v7()),
        user: UserId::new(number).unwrap(),
        quantity: Quantity::ONE,
        seq: Seq(number),
        key: None,
    };
    let first = *next + 1;
    *next += size;
    vec![OrderBatch {
        outbox_id: "1-0".to_owned(),
        product: ProductId::new(1).unwrap(),
        epoch: Epoch(1),
        reserved_at_ms: 1_700_000_000_000,
        orders: (first..=*next).map(order).collect(),
    }]
}

fn benches(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (stack, pool) = runtime.block_on(open_ledger());
    let mut next = 0;
    let mut group = c.benchmark_group("settle");
    for size in [1_i64, 500] {
        group.throughput(Throughput::Elements(size.unsigned_abs()));
        group.bench_function(BenchmarkId::new("batch", size), |b| {
            b.iter_batched(
                || make_batch(&mut next, size),
                |batch| {
                    let settled = runtime.block_on(settle_batch(&pool, &batch)).unwrap();
                    assert_eq!(settled.confirmed, batch[0].orders.len());
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    runtime.block_on(stack.shutdown());
}

criterion_group!(settle_benches, benches);
criterion_main!(settle_benches);
