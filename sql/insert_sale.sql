-- Create a product with its sale, under the next free number unless one is given; nothing when the
-- number is taken.
-- Params: $1 bigint product id or null · $2 text name · $3 bigint price · $4 text currency ·
--   $5 bigint units · $6 bigint limit · $7 integer hold seconds · $8 bigint opens at, ms or null ·
--   $9 bigint closes at, ms or null
INSERT INTO products (id, name, price_minor, currency, stock, total, opening_total, buyer_limit,
                      limit_max, hold_seconds, opens_at, closes_at, sale_version)
SELECT coalesce($1::bigint, (SELECT coalesce(max(p.id), 0) + 1 FROM products AS p)),
       $2::text, $3::bigint, $4::text, $5::bigint, $5::bigint, $5::bigint, $6::bigint,
       $6::bigint, $7::integer, to_timestamp($8::bigint / 1000.0),
       to_timestamp($9::bigint / 1000.0), 1
ON CONFLICT (id) DO NOTHING
RETURNING id, name, price_minor, currency, stock, total, buyer_limit, hold_seconds, state,
          sale_version, epoch, reset_epoch, effect_seq, version,
          coalesce((extract(epoch FROM opens_at) * 1000)::bigint, 0) AS opens_at_ms,
          coalesce((extract(epoch FROM closes_at) * 1000)::bigint, 0) AS closes_at_ms
