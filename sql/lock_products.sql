-- Lock the products of a batch, in id order so that two settlers never wait for each other, and
-- read what the decision needs. The decision is a later statement: taken together with the lock it
-- would see rows from before the wait.
-- Params: $1 bigint[] product ids
SELECT id, stock, epoch, effect_seq, hold_seconds
FROM products
WHERE id = ANY($1::bigint[])
ORDER BY id
FOR NO KEY UPDATE
