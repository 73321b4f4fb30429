-- Counts the rows of a source and adds up their stock. ?1 source; reads only, without a lock.
SELECT COUNT(*), COALESCE(SUM(stock), 0) FROM product WHERE source = ?1
