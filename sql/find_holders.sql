-- The orders that hold units for these users.
-- Params: $1 bigint[] product ids · $2 bigint[] user ids, pairwise
SELECT o.id, o.product_id, o.user_id, o.quantity, o.seq, o.idempotency_key
FROM unnest($1::bigint[], $2::bigint[]) AS k (product_id, user_id)
JOIN orders AS o
  ON o.product_id = k.product_id
 AND o.user_id = k.user_id
 AND o.status IN ('confirmed', 'held', 'paid')
