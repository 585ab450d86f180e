-- An adjustment that waited is applied.
-- Params: $1 uuid id · $2 bigint stock after · $3 bigint total after
UPDATE adjustments
SET status = 'applied', stock_after = $2::bigint, total_after = $3::bigint, decided_at = now()
WHERE id = $1::uuid
  AND status = 'pending'
