-- The rows of the monthly report. Reads only.
SELECT o.id, o.at, o.customer, p.name, o.quantity, p.cents, o.quantity * p.cents
FROM shop_order o JOIN shop_product p ON p.id = o.product ORDER BY o.id
