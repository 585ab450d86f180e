-- Remember where the transaction stands before orders are inserted.
-- Params: none
SAVEPOINT before_insert
