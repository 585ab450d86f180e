-- Every product with what its orders hold, in one snapshot, for the reconciler. What the orders of a
-- product hold changes with its version only, so those counted at this version are not read again.
-- While orders_one_holder stands, a buyer has one order that holds units at most, so each is held to the
-- limit alone; only without it they are added up by buyer, which takes five times as long.
-- Params: $1 bigint[] product ids · $2 bigint[] versions at which their orders were counted
SELECT p.id, p.total, p.stock, p.epoch, p.effect_seq, p.version,
       coalesce(p.total - p.opening_total - a.units, 0)::bigint AS unexplained,
       k.id IS NULL AS counted,
       coalesce(h.units, 0)::bigint AS holding,
       CASE WHEN one_holder.stands THEN h.over_limit ELSE b.over_limit END AS over_limit
FROM products AS p
CROSS JOIN (
    SELECT EXISTS (
        SELECT FROM pg_index
        WHERE indexrelid = to_regclass('orders_one_holder')
          AND indisvalid
    ) AS stands
) AS one_holder
LEFT JOIN unnest($1::bigint[], $2::bigint[]) AS k (id, version)
       ON k.id = p.id AND k.version = p.version
LEFT JOIN LATERAL (
    SELECT coalesce(sum(j.delta), 0) AS units
    FROM adjustments AS j
    WHERE j.product_id = p.id
      AND j.status = 'applied'
) AS a ON true
LEFT JOIN LATERAL (
    SELECT sum(o.quantity) AS units,
           count(*) FILTER (WHERE o.quantity > greatest(p.limit_max, p.buyer_limit)) AS over_limit
    FROM orders AS o
    WHERE k.id IS NULL
      AND o.product_id = p.id
      AND o.status IN ('confirmed', 'held', 'paid')
) AS h ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS over_limit
    FROM (
        SELECT o.user_id
        FROM orders AS o
        WHERE NOT one_holder.stands
          AND k.id IS NULL
          AND o.product_id = p.id
          AND o.status IN ('confirmed', 'held', 'paid')
        GROUP BY o.user_id
        HAVING sum(o.quantity) > greatest(p.limit_max, p.buyer_limit)
    ) AS buyers
) AS b ON true
ORDER BY p.id
