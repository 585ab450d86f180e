-- Let one program migrate at a time; held until the connection ends.
-- Params: none
SELECT pg_advisory_lock(7261394118)
