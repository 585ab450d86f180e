-- Log what Redis has to be told because of this transaction.
-- Params: $1 bigint[] product ids · $2 bigint[] n · $3 text[] kinds · $4 uuid[] reservation ids ·
--   $5 bigint[] user ids · $6 bigint[] quantities · $7 bigint[] seqs
INSERT INTO effects (product_id, n, kind, reservation_id, user_id, quantity, seq)
SELECT e.product_id, e.n, e.kind, e.reservation_id, e.user_id, e.quantity, e.seq
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[],
            $7::bigint[])
     AS e (product_id, n, kind, reservation_id, user_id, quantity, seq)
