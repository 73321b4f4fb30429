-- Puts a product on the shelf. ?1 id, ?2 name, ?3 price in cents, ?4 pieces in stock.
INSERT INTO shop_product (id, name, cents, stock) VALUES (?1, ?2, ?3, ?4)
