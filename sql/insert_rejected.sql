-- Record orders as rejected; one whose id is known keeps the outcome it has.
-- Params: $1 uuid[] ids · $2 bigint[] product ids · $3 bigint[] user ids ·
--   $4 bigint[] quantities, as many as there are up to the last that is not 1 ·
--   $5 bigint[] epochs · $6 bigint[] seqs · $7 timestamptz[] reserved at ·
--   $8 bigint[] idempotency keys, as many as there are up to the last order that has one ·
--   $9 text[] reasons
INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reason, reserved_at,
                    idempotency_key)
SELECT o.id, o.product_id, o.user_id, COALESCE(o.quantity, 1), o.epoch, o.seq, 'rejected', o.reason,
       o.reserved_at, o.idempotency_key
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::timestamptz[], $8::bigint[], $9::text[])
     AS o (id, product_id, user_id, quantity, epoch, seq, reserved_at, idempotency_key, reason)
ON CONFLICT (id) DO NOTHING
RETURNING id
