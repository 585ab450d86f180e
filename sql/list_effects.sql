-- The effects Redis has not applied yet, oldest first, with the idempotency key of the order each is
-- about.
-- Params: $1 bigint product id · $2 bigint n of the last one applied · $3 bigint rows at most
SELECT e.n, e.kind, e.reservation_id, e.user_id, e.quantity, e.seq, e.adjustment_id,
       o.idempotency_key
FROM effects AS e
LEFT JOIN orders AS o ON o.id = e.reservation_id
WHERE e.product_id = $1::bigint
  AND e.n > $2::bigint
ORDER BY e.n
LIMIT $3::bigint
