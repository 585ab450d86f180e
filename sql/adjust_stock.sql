-- Change the units of a sale that is locked, and number the effect that tells Redis. Nothing when
-- the stock does not hold that many, or the total would pass its bound.
-- Params: $1 bigint product id · $2 bigint units, negative to take some out
UPDATE products
SET stock = stock + $2::bigint,
    total = total + $2::bigint,
    effect_seq = effect_seq + 1,
    version = version + 1,
    sale_version = sale_version + 1
WHERE id = $1::bigint
  AND stock + $2::bigint >= 0
  AND total + $2::bigint < 1000000000000
RETURNING id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
          sale_version, epoch, reset_epoch, effect_seq, version,
          coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
          coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
