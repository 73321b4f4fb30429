-- How often stock was taken for each order, and how much. Reads only.
SELECT order_id, count(*), sum(quantity) FROM shop_stock_change GROUP BY order_id
