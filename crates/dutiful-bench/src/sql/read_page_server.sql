-- Takes a page of the report, and a moment over it. No parameters; no locks.
MOVE 200 FROM report; SELECT pg_sleep(0.1);
