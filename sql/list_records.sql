-- Sales with everything an operator may change; one, or every one.
-- Params: $1 bigint product id or null
SELECT id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
       sale_version, epoch, reset_epoch, effect_seq, version,
       coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
       coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
FROM products
WHERE $1::bigint IS NULL OR id = $1::bigint
ORDER BY id
