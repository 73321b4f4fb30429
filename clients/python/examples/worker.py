"""Does the work on threads. Stop it with Ctrl-C: what runs ends first."""

import os
from typing import Any

from dutiful import Context, RetryAfter, Worker

worker = Worker(
    os.environ.get("DUTIFUL_URL", "http://127.0.0.1:7700"),
    queues={"mail": 4, "default": 10},
    prefetch=200,  # the rows are many and tiny
)


@worker.handle("send_welcome")
def send_welcome(mail: Any, context: Context) -> None:
    # Give the key to the mail service: a repeat after a crash is then no second mail.
    print(f"to {mail['to']}: Hello {mail['name']}! (key {context.idempotency_key})", flush=True)


@worker.handle("import_row")
def import_row(row: Any, context: Context) -> None:
    if row["n"] % 500 == 499:
        print(f"row {row['n'] + 1} imported", flush=True)


@worker.handle("make_report", max_attempts=5)
def make_report(report: Any, context: Context) -> Any:
    if context.attempt == 1:
        raise RetryAfter(0.5, "the database is asleep")
    for percent in (25, 50, 75):
        context.check()  # raises when cancelled, out of time, or the lease was lost
        context.progress(percent, f"{report['month']}, part {percent // 25}")
    return {"month": report["month"], "pages": 12}


if __name__ == "__main__":
    worker.run()
