//! What one press of Buy costs the edge apart from the network and Redis: checks, parse, answer.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::contract::buy::BuyRequest;
use domain::contract::problem::Code;
use domain::{Holder, ReservationId, Seq};
use edge::http::answer::{Answer, refuse_raw};
use edge::http::body::refuse_body;
use edge::http::buy::{Asked, queued};
use edge::http::{Context, checks};
use hyper::Request;
use uuid::Uuid;

const BODY: &[u8] = br#"{"user_id":123456789,"product_id":1}"#;
const BROKEN: &[u8] = br#"{"user_id":"123456789","product_id":1}"#;

fn request(length: usize) -> Request<()> {
    Request::post("/api/buy")
        .header("host", "127.0.0.1:8080")
        .header("content-type", "application/json")
        .header("content-length", length)
        .body(())
        .unwrap()
}

fn accept(request: &Request<()>, body: &[u8], id: ReservationId) -> Answer {
    checks::check_request(request).unwrap();
    checks::check_json(request.headers()).unwrap();
    let order = BuyRequest::parse(body).unwrap();
    queued(
        &order,
        &Holder { id, quantity: order.quantity, seq: Seq(42), key: None },
        958,
        Asked::Now,
    )
}

fn benches(c: &mut Criterion) {
    let good = request(BODY.len());
    let id = ReservationId(Uuid::now_v7());
    c.bench_function("request/parse and answer 202", |b| {
        b.iter(|| accept(black_box(&good), black_box(BODY), id));
    });
    let sold_out = Context::sold_out_body();
    c.bench_function("request/parse and answer sold out", |b| {
        b.iter(|| {
            BuyRequest::parse(black_box(BODY)).unwrap();
            refuse_raw(Code::SoldOut, sold_out.clone())
        });
    });
    c.bench_function("request/parse and answer a bad field", |b| {
        b.iter(|| refuse_body(&BuyRequest::parse(black_box(BROKEN)).unwrap_err()));
    });
}

criterion_group!(request_benches, benches);
criterion_main!(request_benches);
