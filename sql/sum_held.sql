-- Units that belong to orders of one product.
-- Params: $1 bigint product id
SELECT coalesce(sum(quantity), 0)::bigint AS units
FROM orders
WHERE product_id = $1::bigint
  AND status IN ('confirmed', 'held', 'paid')
