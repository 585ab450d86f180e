-- Holds: an order of a sale that holds is `held` until it is paid or cancelled, or expires.

ALTER TABLE orders
    -- Until when a held order may be paid; null for an order that never was held.
    ADD COLUMN expires_at  timestamptz,
    -- When it became paid, cancelled or expired.
    ADD COLUMN resolved_at timestamptz,
    ADD CONSTRAINT orders_held_expires CHECK (status <> 'held' OR expires_at IS NOT NULL),
    ADD CONSTRAINT orders_resolved_at
        CHECK ((status IN ('paid', 'cancelled', 'expired')) = (resolved_at IS NOT NULL));

-- Finds the orders to expire, however many others there are. An order that is confirmed at once is
-- not in it and pays nothing for it.
CREATE INDEX orders_expiry ON orders (expires_at) WHERE status = 'held';
