-- What time it is, ms since the Unix epoch.
-- Params: none
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms
