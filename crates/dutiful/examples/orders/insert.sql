-- Inserts an order. No parameters; inside the shop's own BEGIN IMMEDIATE.
INSERT INTO orders (item) VALUES ('book')
