-- Holds a snapshot for :seconds, as a long report or a forgotten session would. Takes no lock that
-- a writer waits for; it keeps vacuum from every row that dies meanwhile.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM dutiful.queue;
SELECT pg_sleep(:seconds);
COMMIT;
