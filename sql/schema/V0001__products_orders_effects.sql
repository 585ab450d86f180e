-- Products with the one sale of each, the orders settled for them, and the log of everything
-- PostgreSQL has to tell Redis.

CREATE TABLE products (
    id            bigint      PRIMARY KEY CHECK (id > 0),
    name          text        NOT NULL CHECK (name <> ''),
    price_minor   bigint      NOT NULL CHECK (price_minor >= 0),
    currency      text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Units not yet owned by an order; total = stock + units of orders that hold units.
    stock         bigint      NOT NULL CHECK (stock >= 0),
    total         bigint      NOT NULL CHECK (total >= stock AND total < 1000000000000),
    buyer_limit   bigint      NOT NULL DEFAULT 1 CHECK (buyer_limit BETWEEN 1 AND 1000000),
    hold_seconds  integer     NOT NULL DEFAULT 0 CHECK (hold_seconds >= 0),
    state         text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'paused', 'closed')),
    opens_at      timestamptz,
    closes_at     timestamptz,
    -- Life of the sale's state in Redis; raised by whoever is about to vouch for a node.
    epoch         bigint      NOT NULL DEFAULT 0,
    -- Number of the last row in effects.
    effect_seq    bigint      NOT NULL DEFAULT 0,
    -- Raised with every change of stock, so that Redis keeps the newest.
    version       bigint      NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (closes_at IS NULL OR opens_at IS NULL OR closes_at > opens_at)
)
-- Half-empty pages keep the hot row's updates on its own page (HOT), where no index is touched.
WITH (fillfactor = 50);

CREATE TABLE orders (
    id            uuid        PRIMARY KEY,
    product_id    bigint      NOT NULL REFERENCES products (id),
    user_id       bigint      NOT NULL CHECK (user_id > 0),
    quantity      bigint      NOT NULL CHECK (quantity > 0),
    epoch         bigint      NOT NULL,
    seq           bigint      NOT NULL,
    status        text        NOT NULL CHECK (status IN
                      ('confirmed', 'rejected', 'held', 'paid', 'cancelled', 'expired')),
    reason        text        CHECK (reason IN ('already_purchased', 'out_of_stock')),
    reserved_at   timestamptz NOT NULL,
    settled_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'rejected') = (reason IS NOT NULL))
);

-- At most one order of a user holds units of a product.
CREATE UNIQUE INDEX orders_one_holder ON orders (product_id, user_id)
    WHERE status IN ('confirmed', 'held', 'paid');

-- Finds the holders a Redis node may have lost: those that arrived after what it remembers.
CREATE INDEX orders_arrival ON orders (product_id, epoch, seq)
    WHERE status IN ('confirmed', 'held', 'paid');

CREATE TABLE effects (
    product_id    bigint      NOT NULL REFERENCES products (id),
    n             bigint      NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('adopt', 'void')),
    reservation_id uuid       NOT NULL,
    user_id       bigint      NOT NULL,
    quantity      bigint      NOT NULL CHECK (quantity > 0),
    seq           bigint      NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, n)
);
