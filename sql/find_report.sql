-- The last look at the books, unless it is too old to say anything.
-- Params: $1 bigint age at most, s
SELECT report
FROM reconcile_report
WHERE checked_at > now() - make_interval(secs => $1::bigint)
