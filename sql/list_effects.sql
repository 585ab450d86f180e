-- The effects Redis has not applied yet, oldest first.
-- Params: $1 bigint product id · $2 bigint n of the last one applied · $3 bigint rows at most
SELECT n, kind, reservation_id, user_id, quantity, seq, adjustment_id
FROM effects
WHERE product_id = $1::bigint
  AND n > $2::bigint
ORDER BY n
LIMIT $3::bigint
