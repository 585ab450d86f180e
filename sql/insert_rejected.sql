-- Record orders as rejected; one whose id is known keeps the outcome it has.
-- Params: $1 uuid[] ids · $2 bigint[] product ids · $3 bigint[] user ids · $4 bigint[] quantities ·
--   $5 bigint[] epochs · $6 bigint[] seqs · $7 bigint[] reserved at, ms since the Unix epoch ·
--   $8 bigint[] idempotency keys; may be empty when no order has one · $9 text[] reasons
INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reason, reserved_at,
                    idempotency_key)
SELECT o.id, o.product_id, o.user_id, o.quantity, o.epoch, o.seq, 'rejected', o.reason,
       to_timestamp(o.reserved_at_ms / 1000.0), o.idempotency_key
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::text[])
     AS o (id, product_id, user_id, quantity, epoch, seq, reserved_at_ms, idempotency_key, reason)
ON CONFLICT (id) DO NOTHING
RETURNING id
