-- Counts the sources that are enqueued whole. ?1 source; reads only, without a lock.
SELECT COUNT(*) FROM source WHERE name = ?1
