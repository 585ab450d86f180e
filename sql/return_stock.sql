-- Put the units of orders just given up back, and number the effects just caused.
-- Params: $1 bigint[] product ids · $2 bigint[] units · $3 bigint[] effects
UPDATE products AS p
SET stock = p.stock + u.units,
    effect_seq = p.effect_seq + u.effects,
    version = p.version + 1
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (id, units, effects)
WHERE p.id = u.id
RETURNING p.id, p.stock, p.version
