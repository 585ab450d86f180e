-- Record orders as confirmed, or as held where their sale holds. None of them may be known, nor any
-- user hold units already: then it fails as a whole. A hold begins now, not when the transaction
-- began to wait for the product.
-- Params: $1 uuid[] ids · $2 bigint[] product ids · $3 bigint[] user ids ·
--   $4 bigint[] quantities, as many as there are up to the last that is not 1 ·
--   $5 bigint[] epochs · $6 bigint[] seqs · $7 timestamptz[] reserved at ·
--   $8 bigint[] idempotency keys, as many as there are up to the last order that has one ·
--   $9 integer[] seconds of hold, 0 for none; may be empty when nothing is held
INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reserved_at, expires_at,
                    idempotency_key)
SELECT o.id, o.product_id, o.user_id, COALESCE(o.quantity, 1), o.epoch, o.seq,
       CASE WHEN o.hold_seconds > 0 THEN 'held' ELSE 'confirmed' END,
       o.reserved_at,
       CASE WHEN o.hold_seconds > 0
            THEN statement_timestamp() + make_interval(secs => o.hold_seconds) END,
       o.idempotency_key
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::timestamptz[], $8::bigint[], $9::integer[])
     AS o (id, product_id, user_id, quantity, epoch, seq, reserved_at, idempotency_key,
           hold_seconds)
