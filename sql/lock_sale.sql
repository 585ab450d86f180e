-- Lock one sale and read all of it. The decision is a later statement.
-- Params: $1 bigint product id
SELECT id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
       sale_version, epoch, reset_epoch, effect_seq, version,
       coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
       coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
FROM products
WHERE id = $1::bigint
FOR NO KEY UPDATE
