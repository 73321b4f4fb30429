-- The shop's own tables; they share the file with the store, so that orders and jobs commit as one.
-- No constraint forbids a second stock change of an order: the judge must be able to see one.
CREATE TABLE shop_product (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL,
    cents INTEGER NOT NULL,
    stock INTEGER NOT NULL
) STRICT;
CREATE TABLE shop_order (
    id       INTEGER PRIMARY KEY,
    product  INTEGER NOT NULL REFERENCES shop_product (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    customer TEXT NOT NULL,
    at       TEXT NOT NULL DEFAULT (datetime('now'))
) STRICT;
CREATE TABLE shop_stock_change (
    id       INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES shop_order (id),
    quantity INTEGER NOT NULL
) STRICT;
