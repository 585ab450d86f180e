-- Record an order as cancelled before it was ever settled: its message, whenever it comes, finds
-- its id known. One that is known already is left out of the answer.
-- Params: $1 uuid id · $2 bigint product id · $3 bigint user id · $4 bigint quantity ·
--   $5 bigint epoch · $6 bigint seq · $7 bigint reserved at, ms since the Unix epoch
INSERT INTO orders (id, product_id, user_id, quantity, epoch, seq, status, reserved_at, resolved_at)
VALUES ($1::uuid, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bigint, 'cancelled',
        to_timestamp($7::bigint / 1000.0), statement_timestamp())
ON CONFLICT (id) DO NOTHING
RETURNING id
