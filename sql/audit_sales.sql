-- Every product with what its orders hold, in one snapshot, for the reconciler.
-- Params: none
SELECT p.id, p.total, p.stock, p.epoch, p.effect_seq, p.version,
       coalesce(p.total - p.opening_total - a.units, 0)::bigint AS unexplained,
       coalesce(h.units, 0)::bigint AS holding,
       coalesce(h.over_limit, 0)::bigint AS over_limit
FROM products AS p
LEFT JOIN LATERAL (
    SELECT coalesce(sum(j.delta), 0) AS units
    FROM adjustments AS j
    WHERE j.product_id = p.id
      AND j.status = 'applied'
) AS a ON true
LEFT JOIN LATERAL (
    SELECT sum(u.units) AS units,
           count(*) FILTER (WHERE u.units > greatest(p.limit_max, p.buyer_limit)) AS over_limit
    FROM (
        SELECT sum(o.quantity) AS units
        FROM orders AS o
        WHERE o.product_id = p.id
          AND o.status IN ('confirmed', 'held', 'paid')
        GROUP BY o.user_id
    ) AS u
) AS h ON true
ORDER BY p.id
