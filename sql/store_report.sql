-- Keep the last look at the books.
-- Params: $1 text report
INSERT INTO reconcile_report (report)
VALUES ($1::text)
ON CONFLICT (one) DO UPDATE SET report = excluded.report, checked_at = now()
