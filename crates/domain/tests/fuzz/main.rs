//! Whatever bytes arrive, a parser answers: it does not panic, keeps no more than it was given,
//! and what it took can be written and reads back the same.
//!
//! Owns the seed corpus beside it, and how its files are broken. Each run takes new seeds and
//! prints the one that fails; `FUZZ_SEED` begins there, `FUZZ_CASES` runs longer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;

use domain::contract::admin::{AdjustStock, ChangeSale, CreateProduct, ListOrders};
use domain::contract::buy::BuyRequest;
use domain::contract::feed::{FeedFrame, encode_settled};
use domain::contract::order_message::{ORDERS_MAX, QueuedOrder, decode, encode};
use domain::contract::order_view::parse_locator;
use domain::contract::outbox::parse_entry;
use domain::contract::socket::ClientMessage;
use domain::contract::stats::{BYTES_MAX, Contribution};
use domain::contract::{rfc3339, strict};
use domain::{Holder, ProductId, ReservationId};

/// Runs `check` over broken files of the corpus; it says whether the bytes were taken.
fn run(folder: &str, check: fn(&[u8]) -> bool) {
    let seeds = broken::corpus(folder);
    for (name, bytes) in &seeds {
        assert!(check(bytes), "{folder}/{name} is not taken as it is");
    }
    let first = broken::first_seed();
    let mut taken = 0;
    for seed in first..first + broken::cases() {
        let bytes = broken::bytes(&seeds, seed);
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        let text = bytes.escape_ascii();
        taken +=
            u64::from(*outcome.as_ref().unwrap_or_else(|_| panic!("FUZZ_SEED={seed}: {text}")));
    }
    assert!(taken > 0 && taken < broken::cases(), "FUZZ_SEED={first}: {taken} taken");
}

#[test]
fn the_body_of_a_press() {
    run("buy", |body| {
        let Ok(request) = BuyRequest::parse(body) else { return false };
        let (user, product) = (request.user, request.product);
        let quantity = request.quantity;
        let text = format!(r#"{{"user_id":{user},"product_id":{product},"quantity":{quantity}}}"#);
        assert_eq!(BuyRequest::parse(text.as_bytes()), Ok(request));
        true
    });
}

#[test]
fn the_message_of_a_queue() {
    run("message", |body| {
        let Ok(batches) = decode(body) else { return false };
        let orders: usize = batches.iter().map(|batch| batch.orders.len()).sum();
        assert!(orders <= ORDERS_MAX && orders <= body.len(), "more than was sent");
        assert_eq!(decode(&encode(&batches)).unwrap(), batches);
        true
    });
}

#[test]
fn the_message_of_a_socket() {
    run("socket", |body| {
        let Ok(ClientMessage::Watch { reservation_id }) = serde_json::from_slice(body) else {
            return false;
        };
        assert!(reservation_id.len() <= body.len());
        let id = ReservationId::parse(&reservation_id);
        id.is_some_and(|id| ReservationId::parse(&id.to_string()) == Some(id))
    });
}

#[test]
fn the_frame_of_the_feed() {
    run("feed", |payload| {
        let Some((frame, settled)) = FeedFrame::parse(payload) else { return false };
        let Some(settled) = settled.read() else { return false };
        assert!(settled.len() <= payload.len() && frame.available >= 0);
        // The orders of a frame are put into its text as they are.
        let text = format!(
            r#"{{"product_id":{},"stock":{},"available":{},"state":"{}","opens_at":{},
               "closes_at":{},"epoch":{},"rev":{},"orders":{}}}"#,
            frame.product,
            frame.stock,
            frame.available,
            frame.stored_state.as_str(),
            frame.window.opens_at_ms.unwrap_or(0),
            frame.window.closes_at_ms.unwrap_or(0),
            frame.epoch.0,
            frame.rev.0,
            encode_settled(&settled)
        );
        let again = FeedFrame::parse(text.as_bytes()).map(|(frame, orders)| (frame, orders.read()));
        assert_eq!(again, Some((frame, Some(settled))));
        true
    });
}

#[test]
fn what_a_process_says_of_itself() {
    run("stats", |payload| {
        let Some(said) = Contribution::parse(payload) else { return false };
        assert!(payload.len() <= BYTES_MAX && said.name.len() <= payload.len());
        assert_eq!(Contribution::parse(&said.to_json()), Some(said));
        true
    });
}

#[test]
fn the_orders_of_an_outbox_entry_and_what_redis_knows_of_a_holder() {
    run("outbox", |text| {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let fields = |orders| [("epoch", "1"), ("at", "1700000000000"), ("orders", orders)];
        let product = ProductId::new(1).unwrap();
        let Some(entry) = parse_entry(product, "1-0", fields(text)) else { return false };
        assert!(entry.orders.len() <= text.len());
        let write = |order: &QueuedOrder| {
            let holder = order.holder();
            assert_eq!(Holder::parse(&holder.encode()), Some(holder));
            format!("{};{}", order.user, holder.encode())
        };
        let written: Vec<String> = entry.orders.iter().map(write).collect();
        let again = parse_entry(product, "1-0", fields(&written.join(";")));
        assert_eq!(again, Some(entry));
        true
    });
}

#[test]
fn what_operators_send() {
    run("admin", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let query = ListOrders::parse(&text).is_ok();
        let _ = (strict::check_empty(bytes), rfc3339::parse(&text), parse_locator(&text));
        let body = CreateProduct::parse(bytes).is_ok() || ChangeSale::parse(bytes).is_ok();
        AdjustStock::parse(bytes, Some(b"key-of-this-test")).is_ok() || body || query
    });
}
