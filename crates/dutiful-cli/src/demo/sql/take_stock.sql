-- Takes pieces off the shelf, in the transaction that completes the job. ?1 product, ?2 pieces.
UPDATE shop_product SET stock = stock - ?2 WHERE id = ?1
