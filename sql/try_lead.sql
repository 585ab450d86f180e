-- Try to become the one settler that vouches and relays; held until the connection ends. Only for
-- liveness: two leaders at once do no harm.
-- Params: none
SELECT pg_try_advisory_lock(7261394119) AS leads
