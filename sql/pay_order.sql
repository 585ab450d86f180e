-- Pay a held order in time. It takes no stock and gives none back, so the product stays unlocked:
-- a payment never waits for a batch that is being settled.
-- Params: $1 uuid reservation id
UPDATE orders AS o
SET status = 'paid', resolved_at = statement_timestamp()
FROM products AS p
WHERE o.id = $1::uuid
  AND o.status = 'held'
  AND o.expires_at > statement_timestamp()
  AND p.id = o.product_id
RETURNING o.product_id, p.stock, p.version
