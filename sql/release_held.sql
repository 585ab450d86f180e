-- Give held orders up, each once: one that was resolved meanwhile, or that is to expire before its
-- time, is left out of the answer.
-- Params: $1 uuid[] ids · $2 text 'cancelled' or 'expired'
UPDATE orders
SET status = $2::text, resolved_at = statement_timestamp()
WHERE id = ANY($1::uuid[])
  AND status = 'held'
  AND ($2::text = 'cancelled' OR expires_at <= statement_timestamp())
RETURNING id, product_id, user_id, quantity, seq, idempotency_key
