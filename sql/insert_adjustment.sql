-- Note that units are to be added or taken out; nothing when the key was used before.
-- Params: $1 uuid id · $2 bigint product id · $3 bigint units, negative to take some out ·
--   $4 text reason · $5 text idempotency key · $6 bigint stock after or null while pending ·
--   $7 bigint total after or null while pending
INSERT INTO adjustments (id, product_id, delta, reason, idempotency_key, status, stock_after,
                         total_after, decided_at)
SELECT $1::uuid, $2::bigint, $3::bigint, $4::text, $5::text,
       CASE WHEN $6::bigint IS NULL THEN 'pending' ELSE 'applied' END, $6::bigint, $7::bigint,
       CASE WHEN $6::bigint IS NULL THEN NULL ELSE now() END
ON CONFLICT (product_id, idempotency_key) DO NOTHING
RETURNING id
