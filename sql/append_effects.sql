-- Log what Redis has to be told because of this transaction.
-- Params: $1 bigint[] product ids · $2 bigint[] n · $3 text[] kinds · $4 uuid[] reservation ids ·
--   $5 bigint[] user ids · $6 bigint[] quantities · $7 bigint[] seqs · $8 uuid[] adjustment ids;
--   what an effect is not about is null
INSERT INTO effects (product_id, n, kind, reservation_id, user_id, quantity, seq, adjustment_id)
SELECT e.product_id, e.n, e.kind, e.reservation_id, e.user_id, e.quantity, e.seq, e.adjustment_id
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::uuid[])
     AS e (product_id, n, kind, reservation_id, user_id, quantity, seq, adjustment_id)
