-- Forget every order of a sale that is reset.
-- Params: $1 bigint product id
DELETE FROM orders
WHERE product_id = $1::bigint
