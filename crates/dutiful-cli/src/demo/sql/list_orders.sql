-- Every order that the shop has booked. Reads only.
SELECT id, product, quantity FROM shop_order ORDER BY id
