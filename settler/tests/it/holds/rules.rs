//! What paying, cancelling and expiring do, and what they refuse.

use super::*;

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
    let query = format!("EXPLAIN {}", include_str!("../../../../sql/list_due.sql"));
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
