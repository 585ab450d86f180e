-- Create the demo sale unless it exists.
-- Params: $1 bigint units
INSERT INTO products (id, name, price_minor, currency, stock, total, opening_total)
VALUES (1, 'iPhone 15 Pro', 4190000, 'THB', $1::bigint, $1::bigint, $1::bigint)
ON CONFLICT (id) DO NOTHING
