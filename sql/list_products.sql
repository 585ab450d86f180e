-- Every product with its sale, as people see it; a window without an end has NULL there.
-- Params: none
SELECT id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state, epoch,
       (extract(epoch FROM opens_at) * 1000)::bigint AS opens_at_ms,
       (extract(epoch FROM closes_at) * 1000)::bigint AS closes_at_ms
FROM products
ORDER BY id
