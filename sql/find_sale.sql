-- One sale with what Redis has to know of it.
-- Params: $1 bigint product id
SELECT id, stock, total, buyer_limit, state, epoch, effect_seq, version, sale_version, reset_epoch,
       coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
       coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
FROM products
WHERE id = $1::bigint
