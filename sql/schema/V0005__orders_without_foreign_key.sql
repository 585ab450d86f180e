-- Whoever records orders locks their products first, in the same transaction, and so knows that they
-- exist. A foreign key asked again for every order, and marked the product's row as locked by each.

ALTER TABLE orders DROP CONSTRAINT orders_product_id_fkey;

-- What else the key held: a product stays as long as it has orders.
CREATE FUNCTION keep_product_with_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM orders WHERE product_id = OLD.id) THEN
        RAISE foreign_key_violation USING MESSAGE = format('product %s has orders', OLD.id);
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER keep_product_with_orders BEFORE DELETE ON products
    FOR EACH ROW EXECUTE FUNCTION keep_product_with_orders();
