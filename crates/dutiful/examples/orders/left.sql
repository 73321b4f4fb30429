-- Counts what is left. No parameters; reads only, without a lock.
SELECT n FROM stock WHERE item = 'book'
