-- Held orders whose time is over, oldest first. Locks nothing: whoever expires them asks again
-- under the lock of their product.
-- Params: $1 bigint rows at most
SELECT id, product_id
FROM orders
WHERE status = 'held'
  AND expires_at <= statement_timestamp()
ORDER BY expires_at
LIMIT $1::bigint
