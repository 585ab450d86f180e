-- Put every unit of a sale that is locked, and whose orders are deleted, back on sale, in a new life
-- of its Redis state that remembers nothing.
-- Params: $1 bigint product id · $2 text state
UPDATE products
SET stock = total,
    state = $2::text,
    epoch = epoch + 1,
    reset_epoch = epoch + 1,
    version = version + 1,
    sale_version = sale_version + 1,
    limit_max = buyer_limit
WHERE id = $1::bigint
RETURNING id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
          sale_version, epoch, reset_epoch, effect_seq, version,
          coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
          coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
