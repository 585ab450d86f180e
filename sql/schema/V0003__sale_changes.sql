-- What an operator changes: settings of a sale under a version, and adjustments of its stock.

ALTER TABLE products
    -- Raised with every change of what Redis has to know of the sale besides its stock.
    ADD COLUMN sale_version  bigint NOT NULL DEFAULT 0,
    -- Total the sale was created with: total = opening_total + adjustments. NULL is unknown.
    ADD COLUMN opening_total bigint,
    -- The largest limit the sale ever had; NULL is the present one. Who bought under it may keep it.
    ADD COLUMN limit_max     bigint,
    -- A Redis node that remembers an earlier epoch remembers a sale from before its reset.
    ADD COLUMN reset_epoch   bigint NOT NULL DEFAULT 0;
UPDATE products SET opening_total = total;

CREATE TABLE adjustments (
    id              uuid        PRIMARY KEY,
    product_id      bigint      NOT NULL REFERENCES products (id),
    delta           bigint      NOT NULL CHECK (delta <> 0),
    reason          text        NOT NULL CHECK (reason <> ''),
    idempotency_key text        NOT NULL CHECK (idempotency_key <> ''),
    -- Pending: units may be marked in Redis. Applied and refused are final.
    status          text        NOT NULL CHECK (status IN ('pending', 'applied', 'refused')),
    -- What the product had after it was applied; what was free when it was refused.
    stock_after     bigint,
    total_after     bigint,
    available       bigint,
    created_at      timestamptz NOT NULL DEFAULT now(),
    decided_at      timestamptz,
    UNIQUE (product_id, idempotency_key),
    CHECK ((status = 'applied') = (stock_after IS NOT NULL AND total_after IS NOT NULL)),
    CHECK ((status = 'refused') = (available IS NOT NULL)),
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    -- What adds units is decided at once.
    CHECK (delta < 0 OR status = 'applied')
);

-- An effect is about an order, or about units.
ALTER TABLE effects
    ALTER COLUMN reservation_id DROP NOT NULL,
    ALTER COLUMN user_id DROP NOT NULL,
    ALTER COLUMN seq DROP NOT NULL,
    ADD COLUMN adjustment_id uuid REFERENCES adjustments (id),
    DROP CONSTRAINT effects_kind_check,
    ADD CONSTRAINT effects_kind_check CHECK (kind IN ('adopt', 'void', 'add', 'withdraw')),
    ADD CONSTRAINT effects_subject_check CHECK (CASE
        WHEN kind IN ('adopt', 'void')
        THEN num_nonnulls(reservation_id, user_id, seq) = 3 AND adjustment_id IS NULL
        ELSE num_nonnulls(reservation_id, user_id, seq) = 0 AND adjustment_id IS NOT NULL
    END);

-- Lists orders that hold no units in order of arrival; `orders_arrival` has the others, so that
-- recording a confirmed order costs nothing more.
CREATE INDEX orders_arrival_void ON orders (product_id, epoch, seq)
    WHERE status IN ('rejected', 'cancelled', 'expired');

-- The leading settler's last look at the books.
CREATE TABLE reconcile_report (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    report     text        NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
