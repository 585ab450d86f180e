-- Begin a new life of a sale's state in Redis.
-- Params: $1 bigint product id
UPDATE products
SET epoch = epoch + 1
WHERE id = $1::bigint
RETURNING epoch
