MOVE 200 FROM report; SELECT pg_sleep(0.1);
