-- Books an order, in the transaction that enqueues its jobs. ?1 id, ?2 product, ?3 pieces,
-- ?4 customer.
INSERT INTO shop_order (id, product, quantity, customer) VALUES (?1, ?2, ?3, ?4)
