-- Whether an adjustment is not decided yet.
-- Params: $1 uuid id
SELECT EXISTS (
    SELECT 1
    FROM adjustments
    WHERE id = $1::uuid
      AND status = 'pending'
) AS pending
