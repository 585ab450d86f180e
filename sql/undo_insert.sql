-- Go back to where the transaction stood before orders were inserted.
-- Params: none
ROLLBACK TO SAVEPOINT before_insert
