-- One adjustment, by its product and key or by its id, with the last effect of its product.
-- Params: $1 bigint product id · $2 text idempotency key or null · $3 uuid id or null
SELECT a.id, a.delta, a.reason, a.status, a.stock_after, a.total_after, a.available, p.effect_seq
FROM adjustments AS a
JOIN products AS p ON p.id = a.product_id
WHERE a.product_id = $1::bigint
  AND (a.idempotency_key = $2::text OR a.id = $3::uuid)
