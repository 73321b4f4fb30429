-- Takes an order's item from the stock. ?1 is the order; inside the shop's own BEGIN IMMEDIATE.
UPDATE stock SET n = n - 1 WHERE item = (SELECT item FROM orders WHERE id = ?1)
