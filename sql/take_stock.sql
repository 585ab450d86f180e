-- Take the units of the orders just confirmed and number the effects just caused. A product that
-- does not hold that many units is left out of the answer, and the transaction must roll back.
-- Params: $1 bigint[] product ids · $2 bigint[] units · $3 bigint[] effects
UPDATE products AS p
SET stock = p.stock - u.units,
    effect_seq = p.effect_seq + u.effects,
    version = p.version + 1
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (id, units, effects)
WHERE p.id = u.id
  AND p.stock >= u.units
RETURNING p.id, p.stock, p.version, p.effect_seq
