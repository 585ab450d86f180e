-- Every product with its sale, as people see it.
-- Params: none
SELECT id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state, epoch,
       coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
       coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
FROM products
ORDER BY id
