"""A worker in a process of its own, to be stopped by tests."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from dutiful import AsyncContext, AsyncWorker, Context, Worker  # noqa: E402


def tell_when_stopping(worker: Any) -> None:
    """Says so on standard output, so that the test knows when the first signal was heard."""

    def wait() -> None:
        worker._stopping.wait()
        print("stopping", flush=True)

    threading.Thread(target=wait, daemon=True).start()


def on_threads(url: str, queue: str) -> None:
    worker = Worker(url, queues={queue: 2})

    @worker.handle("work")
    def work(payload: str, context: Context) -> None:
        print("started", flush=True)
        if payload == "long":
            context.stop.wait()

    tell_when_stopping(worker)
    worker.run()


async def in_a_loop(url: str, queue: str) -> None:
    worker = AsyncWorker(url, queues={queue: 2})

    @worker.handle("work")
    async def work(payload: str, context: AsyncContext) -> None:
        print("started", flush=True)
        if payload == "long":
            await asyncio.sleep(60)

    tell_when_stopping(worker)
    await worker.run()


if __name__ == "__main__":
    _, url, kind, queue = sys.argv
    if kind == "threads":
        on_threads(url, queue)
    else:
        asyncio.run(in_a_loop(url, queue))
