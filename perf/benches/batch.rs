//! What a batch costs the edge and the settler apart from Redis, RabbitMQ and PostgreSQL: the call
//! assembled, the reply decoded, the message written and read, a feed frame read and encoded.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use domain::contract::feed::{FeedFrame, SettledOrder, encode_settled};
use domain::contract::order_message::{self, OrderBatch, QueuedOrder};
use domain::{Epoch, OrderStatus, ProductId, Quantity, ReservationId, Rev, Seq, UserId};
use edge::feed::Board;
use edge::reserve::call::command;
use edge::reserve::{Proposal, reply, script};
use redis::Value;
use uuid::Uuid;

/// A second after the reply below.
const DEADLINE_MS: i64 = 1_700_000_001_000;
/// Outbox entries that shed.
const OUTBOX_MAX: u32 = 10_000;
/// A batch when it is quiet, and one under load.
const SIZES: [i64; 2] = [1, 64];

fn product() -> ProductId {
    ProductId::new(1).unwrap()
}

fn proposals(batch: i64) -> Vec<Proposal> {
    let proposal = |number| Proposal {
        user: UserId::new(123_456_789 + number).unwrap(),
        quantity: Quantity::ONE,
        candidate: ReservationId(Uuid::now_v7()),
        key: None,
        traced: None,
    };
    (0..batch).map(proposal).collect()
}

/// As the script answers when all are accepted.
fn accepted(proposals: &[Proposal]) -> Value {
    let mut items = [0, 1_700_000_000_000, 3, 9, 41].map(Value::Int).to_vec();
    items.extend([b"1700000000000-0".to_vec(), vec![0; proposals.len()]].map(Value::BulkString));
    Value::Array(items)
}

fn queued(proposals: &[Proposal]) -> OrderBatch {
    let order = |(proposal, seq): (&Proposal, i64)| {
        QueuedOrder::of(proposal.user, &proposal.holder(Seq(seq)))
    };
    OrderBatch {
        outbox_id: "1700000000000-0".to_owned(),
        product: product(),
        epoch: Epoch(3),
        reserved_at_ms: 1_700_000_000_000,
        orders: proposals.iter().zip(1..).map(order).collect(),
    }
}

/// As `report_stock.lua` publishes it.
fn published(proposals: &[Proposal], rev: Rev) -> String {
    let settled = |p: &Proposal| SettledOrder { id: p.candidate, status: OrderStatus::Confirmed };
    let orders = encode_settled(&proposals.iter().map(settled).collect::<Vec<_>>());
    format!(
        "{{\"product_id\":1,\"stock\":999,\"available\":{},\"state\":\"open\",\"opens_at\":0,\
         \"closes_at\":0,\"epoch\":3,\"rev\":{},\"orders\":{orders}}}",
        rev.0, rev.0
    )
}

fn benches(c: &mut Criterion) {
    let script = script();
    let mut group = c.benchmark_group("batch");
    for size in SIZES {
        let proposals = proposals(size);
        let (reply, batch) = (accepted(&proposals), queued(&proposals));
        let body = order_message::encode([&batch]);
        group.throughput(Throughput::Elements(size.unsigned_abs()));
        let id = |what| BenchmarkId::new(what, size);
        group.bench_function(id("assemble the call"), |b| {
            b.iter(|| {
                command(&script, product(), DEADLINE_MS, OUTBOX_MAX, black_box(&proposals).iter())
            });
        });
        group.bench_function(id("decode the reply"), |b| {
            b.iter(|| reply::decode(black_box(&reply), proposals.iter()).unwrap());
        });
        group.bench_function(id("encode the message"), |b| {
            b.iter(|| order_message::encode([black_box(&batch)]));
        });
        group.bench_function(id("decode the message"), |b| {
            b.iter(|| order_message::decode(black_box(&body)).unwrap());
        });
        let frame = published(&proposals, Rev(1));
        group.bench_function(id("read and encode a frame"), |b| {
            let mut rev = 0;
            let mut board = Board::default();
            b.iter(|| {
                let (mut newest, settled) = FeedFrame::parse(black_box(frame.as_bytes())).unwrap();
                // A frame is encoded only when it is newer.
                rev += 1;
                newest.rev = Rev(rev);
                board.take(newest, 1);
                board.publish(1);
                settled
            });
        });
    }
    group.finish();
}

criterion_group!(batch_benches, benches);
criterion_main!(batch_benches);
