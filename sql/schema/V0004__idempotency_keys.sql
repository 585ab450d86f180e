-- The idempotency key an order was reserved under, so that a replay finds it after Redis was rebuilt.

-- The first 8 bytes of the key's SHA-256; to_hex() shows what Redis has. Unique by nothing: it only
-- ever stands beside the one order of its user.
ALTER TABLE orders ADD COLUMN idempotency_key bigint;
