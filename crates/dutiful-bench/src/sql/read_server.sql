-- Reads all jobs page by page in one transaction, as a program that writes a report does. Takes no
-- lock that a writer waits for.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
DECLARE report NO SCROLL CURSOR FOR SELECT * FROM dutiful.jobs;
:pages
COMMIT;
