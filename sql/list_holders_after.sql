-- Orders that hold units and arrived after what a Redis node remembers: those it may have lost.
-- Params: $1 bigint product id · $2 bigint epoch · $3 bigint seq
SELECT id, user_id, quantity, seq, idempotency_key
FROM orders
WHERE product_id = $1::bigint
  AND status IN ('confirmed', 'held', 'paid')
  AND (epoch, seq) > ($2::bigint, $3::bigint)
