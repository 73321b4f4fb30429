"""Does the same work in an event loop. Stop it with Ctrl-C: what runs ends first."""

import asyncio
import os
from typing import Any

from dutiful import AsyncContext, AsyncWorker, RetryAfter

worker = AsyncWorker(
    os.environ.get("DUTIFUL_URL", "http://127.0.0.1:7700"),
    queues={"mail": 4, "default": 100},
    prefetch=200,
)


@worker.handle("send_welcome")
async def send_welcome(mail: Any, context: AsyncContext) -> None:
    print(f"to {mail['to']}: Hello {mail['name']}! (key {context.idempotency_key})", flush=True)


@worker.handle("import_row")
async def import_row(row: Any, context: AsyncContext) -> None:
    await asyncio.sleep(0.001)


@worker.handle("make_report", max_attempts=5)
async def make_report(report: Any, context: AsyncContext) -> Any:
    if context.attempt == 1:
        raise RetryAfter(0.5, "the database is asleep")
    await context.progress(50, "half of it")
    return {"month": report["month"], "pages": 12}  # a cancelled handler ends at its next await


if __name__ == "__main__":
    asyncio.run(worker.run())
