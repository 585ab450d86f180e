-- One order with its outcome.
-- Params: $1 uuid reservation id
SELECT product_id, user_id, quantity, status, reason, seq,
       (extract(epoch FROM reserved_at) * 1000)::bigint AS reserved_at_ms,
       (extract(epoch FROM settled_at) * 1000)::bigint AS settled_at_ms,
       (extract(epoch FROM expires_at) * 1000)::bigint AS expires_at_ms
FROM orders
WHERE id = $1::uuid
