//! What the shop has: the products and orders the document names, in every state.
//!
//! Invariant: units add up, so that an order may be cancelled and a sale be reset.

use redis::aio::MultiplexedConnection;

/// Products in every state a buyer or an operator may meet, and their orders, together: whoever
/// opens a sale finds its orders.
pub(crate) const GOODS: &str = "
INSERT INTO products
    (id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state, opens_at)
VALUES
    (2, 'none left', 1, 'THB', 0, 0, 1, 0, 'open', NULL),
    (3, 'one left', 1, 'THB', 1, 1, 2, 0, 'open', NULL),
    (4, 'not yet', 1, 'THB', 9, 9, 1, 0, 'open', '2099-11-23T12:00:00Z'),
    (5, 'paused', 1, 'THB', 9, 9, 1, 0, 'paused', NULL),
    (6, 'over', 1, 'THB', 9, 9, 1, 0, 'closed', NULL),
    (8, 'with holds', 1, 'THB', 16, 20, 1, 600, 'open', NULL),
    (9, 'orders on their way', 1, 'THB', 9, 9, 1, 0, 'paused', NULL),
    (10, 'Pixel 10', 2990000, 'THB', 4, 5, 2, 600, 'open', NULL),
    (11, 'to be adjusted', 1, 'THB', 5, 5, 1, 0, 'open', NULL),
    (12, 'Pixel 10', 2990000, 'THB', 9, 9, 2, 600, 'open', NULL),
    (13, 'open, its answers are lost', 1, 'THB', 7, 9, 1, 600, 'open', NULL),
    (15, 'paused, its answers are lost', 1, 'THB', 9, 9, 1, 0, 'paused', NULL),
    (16, 'Pixel 10', 2990000, 'THB', 9, 9, 2, 600, 'open', NULL);
INSERT INTO orders
    (id, product_id, user_id, quantity, epoch, seq, status, reason, reserved_at, expires_at,
     resolved_at)
SELECT ('019ab3c4-7e1b-7c3d-8a21-0000000000' || number)::uuid, product, 12300 + number, 1, 1,
       number, status, CASE status WHEN 'rejected' THEN 'already_purchased' END, now(),
       CASE WHEN status <> 'confirmed' THEN timestamptz '2099-11-23T12:10:00Z' END,
       CASE WHEN status IN ('paid', 'cancelled', 'expired') THEN now() END
FROM (VALUES
    (51, 1, 'confirmed'), (52, 1, 'rejected'), (54, 8, 'held'), (60, 8, 'held'), (61, 8, 'paid'),
    (62, 8, 'cancelled'), (63, 8, 'expired'), (64, 8, 'rejected'), (68, 13, 'held'),
    (75, 8, 'held'), (82, 13, 'held'), (91, 10, 'confirmed')) AS o (number, product, status);
UPDATE products SET stock = stock - 1 WHERE id = 1;
";

/// A COMMIT that changes or creates one of these products, or an order of one, breaks off: its
/// answer never comes.
pub(crate) const LOSE_ANSWERS: &str = "
CREATE FUNCTION lose_the_answer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(1);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER lose_the_answer AFTER INSERT OR UPDATE ON products
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id IN (13, 14, 15))
    EXECUTE FUNCTION lose_the_answer();
CREATE CONSTRAINT TRIGGER lose_the_answer AFTER UPDATE ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.product_id IN (13, 14, 15))
    EXECUTE FUNCTION lose_the_answer();
";

/// Products whose sale may be reset, as far as it may be: 999 is none.
pub(crate) const RESETTABLE: &str = "9,10,13,999";

/// Orders no settler has seen, by product and number.
const QUEUED: [(i64, i64); 3] = [(1, 53), (8, 85), (9, 90)];

/// Reserves what is queued.
pub(crate) async fn reserve(redis: &mut MultiplexedConnection) {
    for (product, number) in QUEUED {
        let holder = format!("019ab3c4-7e1b-7c3d-8a21-0000000000{number}|1|{number}");
        let mut reserve = redis::pipe();
        reserve.hset(format!("buyers:{{{product}}}"), 12300 + number, holder);
        reserve.hincr(format!("sale:{{{product}}}"), "available", -1);
        reserve.exec_async(redis).await.unwrap();
    }
}
