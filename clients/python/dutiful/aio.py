"""Client and worker for asyncio. Calls to the server are made on threads, and so is the heartbeat,
which a busy event loop cannot starve."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .client import Client
from .context import Attempt, JobFields, Slots
from .engine import SIGNALS, Engine
from .http import RETRY_FOR, URL_DEFAULT
from .types import Backlog, Enqueued, Filter, Job, JobResult, JobSettings, JobSummary, NewJob
from .types import Page, QueueInfo, Stats, Time, TypeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack  # known to type checkers; not needed to run

CALLS_MAX = 32  # calls of one client that are under way at once
T = TypeVar("T")


class AsyncClient:
    """As Client, with methods to await."""

    def __init__(
        self,
        url: str = URL_DEFAULT,
        token: Optional[str] = None,
        *,
        retry_for: float = RETRY_FOR,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._client = Client(url, token, retry_for=retry_for, tls=tls)
        self._threads = ThreadPoolExecutor(CALLS_MAX, "dutiful")

    async def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._client.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def enqueue(
        self,
        type: str,
        payload: Any = None,
        *,
        idempotency_key: Optional[str] = None,
        **settings: Unpack[JobSettings],
    ) -> Enqueued:
        enqueue = partial(self._client.enqueue, idempotency_key=idempotency_key, **settings)
        return await self._call(enqueue, type, payload)

    async def enqueue_all(self, jobs: Iterable[NewJob]) -> list[Enqueued]:
        return await self._call(self._client.enqueue_all, jobs)

    async def job(self, id: str) -> Job:
        return await self._call(self._client.job, id)

    async def result(self, id: str, wait: float = 0) -> JobResult:
        return await self._call(self._client.result, id, wait)

    async def page(self, **filter: Unpack[Filter]) -> Page:
        return await self._call(partial(self._client.page, **filter))

    async def jobs(self, **filter: Unpack[Filter]) -> AsyncIterator[JobSummary]:
        while True:
            page = await self.page(**filter)
            for job in page["jobs"]:
                yield job
            if not page["next"]:
                return
            filter["before"] = page["next"]

    async def cancel(self, id: str) -> str:
        return await self._call(self._client.cancel, id)

    async def retry(self, id: str) -> str:
        return await self._call(self._client.retry, id)

    async def discard(self, id: str) -> str:
        return await self._call(self._client.discard, id)

    async def reschedule(
        self, id: str, *, at: Optional[Time] = None, delay_ms: Optional[int] = None
    ) -> None:
        await self._call(partial(self._client.reschedule, at=at, delay_ms=delay_ms), id)

    async def delete(self, id: str) -> None:
        await self._call(self._client.delete, id)

    async def queues(self) -> list[QueueInfo]:
        return await self._call(self._client.queues)

    async def queue(self, queue: str) -> QueueInfo:
        return await self._call(self._client.queue, queue)

    async def pause(self, queue: str) -> bool:
        return await self._call(self._client.pause, queue)

    async def resume(self, queue: str) -> bool:
        return await self._call(self._client.resume, queue)

    async def workers(self) -> list[dict[str, Any]]:
        return await self._call(self._client.workers)

    async def stats(self) -> Stats:
        return await self._call(self._client.stats)

    async def backlog(self, queue: Optional[str] = None) -> Backlog:
        return await self._call(self._client.backlog, queue)

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args))


class AsyncContext(JobFields):
    """What a handler gets beside the payload. A handler that must stop is also cancelled."""

    async def progress(self, percent: float, note: Optional[str] = None) -> None:
        """How far the job is, 0 to 100, shown on the dashboard."""
        body = {"percent": percent, "note": note}
        await asyncio.to_thread(self._say, self._attempt, "progress", body)

    async def log(self, *lines: object) -> None:
        """Lines for the log of this attempt."""
        body = {"lines": [str(line) for line in lines]}
        await asyncio.to_thread(self._say, self._attempt, "log", body)


Handler = TypeVar("Handler", bound=Callable[[Any, AsyncContext], Awaitable[Any]])


class AsyncWorker(Engine):
    """What a handler returns is the job's result (JSON); what it raises is a failure."""

    def handle(self, type: str, **settings: Unpack[TypeSettings]) -> Callable[[Handler], Handler]:
        """`@worker.handle("fetch", max_attempts=5)` before `async def fetch(payload, context)`"""

        def register(handler: Handler) -> Handler:
            self._handlers[type] = handler
            self._types[type] = settings
            return handler

        return register

    async def run(self, signals: Iterable[signal.Signals] = SIGNALS) -> None:
        """Works until SIGTERM, SIGINT or `stop()`, then stops in order; a second signal ends at
        once."""
        loop = asyncio.get_running_loop()
        stops: list[asyncio.Task[None]] = []

        def on_signal(number: int) -> None:
            if stops:
                os._exit(128 + number)
            stops.append(loop.create_task(self.stop()))

        for number in signals:
            loop.add_signal_handler(number, on_signal, number)
        try:
            await self.start()
            await asyncio.to_thread(self._stopping.wait)
        finally:
            await self.stop()
            for number in signals:
                loop.remove_signal_handler(number)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    def _prepare(self) -> None:
        self._waiting: dict[str, deque[Attempt]] = {one.queue: deque() for one in self._slots}
        self._running: dict[Attempt, asyncio.Task[bytes]] = {}

    def _dispatch(self, slots: Slots, attempts: list[Attempt]) -> None:
        self._loop.call_soon_threadsafe(self._accept, slots, attempts)

    def _abandoned(self, attempt: Attempt) -> None:
        self._loop.call_soon_threadsafe(self._fill, attempt.slots)

    def _told(self, attempt: Attempt) -> None:
        self._loop.call_soon_threadsafe(self._cancel, attempt)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt in self._running:
            self._running[attempt].cancel()

    def _accept(self, slots: Slots, attempts: list[Attempt]) -> None:
        self._waiting[slots.queue].extend(attempts)
        self._fill(slots)

    def _fill(self, slots: Slots) -> None:
        waiting = self._waiting[slots.queue]
        while waiting and slots.running < slots.size:
            attempt = waiting.popleft()
            if self._begin(attempt):
                task = self._loop.create_task(self._run(attempt))
                self._running[attempt] = task
                task.add_done_callback(partial(self._ended, attempt))

    def _ended(self, attempt: Attempt, task: asyncio.Task[bytes]) -> None:
        del self._running[attempt]
        # A task that is cancelled before its first step never gets to `_run`.
        cancelled = attempt.failed(asyncio.CancelledError()) if task.cancelled() else None
        self._settle(attempt, cancelled or task.result())
        self._fill(attempt.slots)

    async def _run(self, attempt: Attempt) -> bytes:
        try:
            handler = self._handlers[attempt.job["type"]]
            context = AsyncContext(attempt, self._say)
            return attempt.completed(await handler(attempt.job["payload"], context))
        except BaseException as error:  # also CancelledError, which says that we told it to stop
            return attempt.failed(error)
