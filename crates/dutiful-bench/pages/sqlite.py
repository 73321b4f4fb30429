"""Fills an empty store with ten million jobs in all their places, as postgres.sql does.

`dutiful migrate --store sqlite:FILE`, then `python3 sqlite.py FILE`; a file of about 3 GB.
"""
import sqlite3
import sys
import time

JOBS = 10_000_000
NOW = int(time.time() * 1e6)
LATER = NOW + 36_000_000_000


def id_of(n):
    """A job's id: the milliseconds, and a number in place of chance."""
    return bytes.fromhex(f"{NOW // 1000 - (JOBS - n) // 1000:012x}7{n % 4096:03x}8{n:015x}")


store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.create_function("id_of", 1, id_of, deterministic=True)
store.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; BEGIN")
for statement in [
    "CREATE TABLE given (n INTEGER PRIMARY KEY, id BLOB, place INT, queue TEXT, type TEXT)",
    f"""INSERT INTO given WITH RECURSIVE s (n) AS
        (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {JOBS - 1})
        SELECT n, id_of(n), n % 1000, 'q' || (n % 10), 'type' || (n % 20) FROM s""",
    f"""INSERT INTO dutiful_job (id, type, queue, priority, created_at, max_attempts, timeout_ms,
        tags, delivery, payload) SELECT id, type, queue, 10, {NOW} - ({JOBS} - n) * 1000, 3, 60000,
        '["a","b"]', 0, CAST('{{"to":"ann@example.com","n":' || n || '}}' AS BLOB) FROM given""",
    f"""INSERT INTO dutiful_ready (queue, priority, run_at, id, type, flags, attempt, failures,
        crashes) SELECT queue, 10, {NOW} - 3600000000, id, type, 0, 0, 0, 0 FROM given
        WHERE place BETWEEN 780 AND 879 ORDER BY queue, id""",
    f"""INSERT INTO dutiful_scheduled (run_at, id, queue, priority, type, flags, attempt, failures,
        crashes, reason) SELECT {LATER}, id, queue, 10, type, 0, 1, 0, 0, n % 3 FROM given
        WHERE place BETWEEN 880 AND 979""",
    f"""INSERT INTO dutiful_lease (id, attempt, nonce, worker, until, claimed_at, queue, priority,
        type, flags, failures, crashes, cancel) SELECT id, 1, 5, 7, {LATER}, {NOW}, queue, 10, type,
        0, 0, 0, 0 FROM given WHERE place = 999""",
    f"""INSERT INTO dutiful_done (id, attempt, nonce, worker, outcome, started_at, finished_at,
        failures, result) SELECT id, 1, 5, 7, 1, {NOW}, {NOW}, 0, CAST('7' AS BLOB) FROM given
        WHERE place < 780 OR place BETWEEN 990 AND 998""",
    f"""INSERT INTO dutiful_dead (id, attempt, nonce, worker, reason, started_at, finished_at,
        failures, crashes, queue, priority, type, flags, error_class, error_message)
        SELECT id, 2, 5, 7, 1, {NOW}, {NOW}, 2, 0, queue, 10, type, 0,
        CASE n % 5 WHEN 0 THEN 'Timeout' WHEN 1 THEN 'SmtpError' WHEN 2 THEN 'Oops'
        WHEN 3 THEN 'HttpError' ELSE 'Panic' END, 'it broke at step ' || n || ' of ' || type
        FROM given WHERE place BETWEEN 980 AND 989""",
    f"""INSERT INTO dutiful_attempt (id, attempt, worker, started_at, finished_at, outcome,
        error_class, error_message) SELECT id, 1, 7, {NOW}, {NOW}, 2, 'Oops', 'it broke' FROM given
        WHERE place BETWEEN 980 AND 989 OR (place BETWEEN 880 AND 979 AND n % 3 = 1)""",
    """INSERT INTO dutiful_total (queue, type, event, n)
        SELECT queue, type, 0, count(*) FROM given GROUP BY queue, type""",
    """INSERT INTO dutiful_total (queue, type, event, n) SELECT queue, type, 1, count(*) FROM given
        WHERE place < 780 OR place BETWEEN 990 AND 998 GROUP BY queue, type""",
    "DROP TABLE given",
    "COMMIT",
]:
    store.execute(statement)
