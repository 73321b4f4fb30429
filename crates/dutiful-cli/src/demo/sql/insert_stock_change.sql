-- Notes for which order pieces were taken, beside take_stock. ?1 order, ?2 pieces.
INSERT INTO shop_stock_change (order_id, quantity) VALUES (?1, ?2)
