-- Where one order stands, for whoever wants to resolve it.
-- Params: $1 uuid reservation id
SELECT product_id, status
FROM orders
WHERE id = $1::uuid
