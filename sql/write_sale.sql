-- Write what an operator may change of a sale that is locked.
-- Params: $1 bigint product id · $2 text name · $3 bigint price · $4 bigint limit ·
--   $5 integer hold seconds · $6 text state · $7 bigint opens at, ms or null ·
--   $8 bigint closes at, ms or null
UPDATE products
SET name = $2::text,
    price_minor = $3::bigint,
    limit_max = greatest(limit_max, buyer_limit, $4::bigint),
    buyer_limit = $4::bigint,
    hold_seconds = $5::integer,
    state = $6::text,
    opens_at = to_timestamp($7::bigint / 1000.0),
    closes_at = to_timestamp($8::bigint / 1000.0),
    sale_version = sale_version + 1
WHERE id = $1::bigint
RETURNING id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
          sale_version, epoch, reset_epoch, effect_seq, version,
          coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
          coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
