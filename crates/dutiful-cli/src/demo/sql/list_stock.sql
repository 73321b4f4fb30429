-- What is left of each product. Reads only.
SELECT id, stock FROM shop_product ORDER BY id
