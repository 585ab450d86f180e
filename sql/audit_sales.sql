-- Every product with what its orders hold, in one snapshot, for the reconciler. What the orders of a
-- product hold changes with its version only, so those counted at this version are not read again. A
-- buyer has one order that holds units at most (orders_one_holder), so each is held to the limit alone:
-- adding them up by buyer takes five times as long.
-- Params: $1 bigint[] product ids · $2 bigint[] versions at which their orders were counted
SELECT p.id, p.total, p.stock, p.epoch, p.effect_seq, p.version,
       coalesce(p.total - p.opening_total - a.units, 0)::bigint AS unexplained,
       k.id IS NULL AS counted,
       coalesce(h.units, 0)::bigint AS holding,
       coalesce(h.over_limit, 0)::bigint AS over_limit
FROM products AS p
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
ORDER BY p.id
