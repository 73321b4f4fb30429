-- Lets the server count what each statement costs. No parameters.
CREATE EXTENSION pg_stat_statements
