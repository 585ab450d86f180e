-- Record orders as confirmed, or as held where their sale holds. None of them may be known, nor any
-- user hold units already: then it fails as a whole. A hold begins now, not when the transaction
-- began to wait for the product.
-- Params: $1 uuid[] ids · $2 bigint[] product ids · $3 bigint[] user ids · $4 bigint[] quantities ·
--   $5 bigint[] epochs · $6 bigint[] seqs · $7 bigint[] reserved at, ms since the Unix epoch ·
--   $8 bigint[] idempotency keys; may be empty when no order has one ·
--   $9 integer[] seconds of hold, 0 for none
INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reserved_at, expires_at,
                    idempotency_key)
SELECT o.id, o.product_id, o.user_id, o.quantity, o.epoch, o.seq,
       CASE WHEN o.hold_seconds > 0 THEN 'held' ELSE 'confirmed' END,
       to_timestamp(o.reserved_at_ms / 1000.0),
       CASE WHEN o.hold_seconds > 0
            THEN statement_timestamp() + make_interval(secs => o.hold_seconds) END,
       o.idempotency_key
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::integer[])
     AS o (id, product_id, user_id, quantity, epoch, seq, reserved_at_ms, idempotency_key,
           hold_seconds)
