-- Begins a read transaction and its snapshot. Takes no lock that a writer waits for; it keeps the
-- WAL from being cut back, which is what is to be measured.
BEGIN;
SELECT count(*) FROM dutiful_queue;
