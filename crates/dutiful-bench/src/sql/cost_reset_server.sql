-- Begins to count anew. No parameters.
SELECT pg_stat_statements_reset()
