-- Which of these orders have an outcome already.
-- Params: $1 uuid[] ids
SELECT id
FROM orders
WHERE id = ANY($1::uuid[])
