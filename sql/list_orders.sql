-- Orders of one product in order of arrival, after a place in it. Two indexes have them in that
-- order: of those that hold units, and of the others.
-- Params: $1 bigint product id · $2 text[] statuses · $3 bigint epoch · $4 bigint seq · $5 uuid id ·
--   $6 bigint rows at most
WITH page AS (
    (SELECT o.id, o.epoch, o.seq
     FROM orders AS o
     WHERE o.product_id = $1::bigint
       AND o.status IN ('confirmed', 'held', 'paid')
       AND o.status = ANY($2::text[])
       AND (o.epoch, o.seq, o.id) > ($3::bigint, $4::bigint, $5::uuid)
     ORDER BY o.epoch, o.seq, o.id
     LIMIT $6::bigint)
    UNION ALL
    (SELECT o.id, o.epoch, o.seq
     FROM orders AS o
     WHERE o.product_id = $1::bigint
       AND o.status IN ('rejected', 'cancelled', 'expired')
       AND o.status = ANY($2::text[])
       AND (o.epoch, o.seq, o.id) > ($3::bigint, $4::bigint, $5::uuid)
     ORDER BY o.epoch, o.seq, o.id
     LIMIT $6::bigint)
)
SELECT o.id, o.product_id, o.user_id, o.quantity, o.status, o.reason, o.epoch, o.seq,
       (extract(epoch FROM o.reserved_at) * 1000)::bigint AS reserved_at_ms,
       (extract(epoch FROM o.settled_at) * 1000)::bigint AS settled_at_ms,
       (extract(epoch FROM o.expires_at) * 1000)::bigint AS expires_at_ms
FROM page
JOIN orders AS o ON o.id = page.id
ORDER BY page.epoch, page.seq, page.id
LIMIT $6::bigint
