-- An adjustment that waited is refused for good.
-- Params: $1 uuid id · $2 bigint units that were free
UPDATE adjustments
SET status = 'refused', available = $2::bigint, decided_at = now()
WHERE id = $1::uuid
  AND status = 'pending'
