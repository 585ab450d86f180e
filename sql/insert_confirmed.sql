-- Record orders as confirmed, or as held where their sale holds. None of them may be known, nor any
-- user hold units already: then it fails as a whole. A hold begins now, not when the transaction
-- began to wait for the product.
-- The arrays are taken apart in the select list, in step with each other, a shorter one filled up
-- with NULL: FROM unnest(…) would write each of them down first.
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
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::bigint[]) AS product_id,
             unnest($3::bigint[]) AS user_id, unnest($4::bigint[]) AS quantity,
             unnest($5::bigint[]) AS epoch, unnest($6::bigint[]) AS seq,
             unnest($7::timestamptz[]) AS reserved_at, unnest($8::bigint[]) AS idempotency_key,
             unnest($9::integer[]) AS hold_seconds) AS o
