-- Which of these orders have an outcome by which they hold nothing.
-- Params: $1 uuid[] ids
SELECT id
FROM orders
WHERE id = ANY($1::uuid[])
  AND status IN ('rejected', 'cancelled', 'expired')
