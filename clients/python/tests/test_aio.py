"""The client and the worker for asyncio against a real server."""

from __future__ import annotations

import asyncio
import time
import unittest
from typing import Any

from dutiful import AsyncClient, AsyncContext, AsyncWorker, Discard, NotFound, Snooze
from server import PATIENCE, Server


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()

    async def asyncSetUp(self) -> None:
        self.client = AsyncClient(self.server.url)
        self.addAsyncCleanup(self.client.close)

    async def work(self, queue: str, handler: Any, **options: Any) -> AsyncWorker:
        slots = options.pop("slots", 4)
        settings = {"url": self.server.url, "queues": {queue: slots}, "lease": 3.0, **options}
        worker = AsyncWorker(**settings)
        worker.handle("work")(handler)
        await worker.start()
        self.addAsyncCleanup(worker.stop)
        return worker

    async def ended(self, queue: str, payload: Any = None, **settings: Any) -> Any:
        stored = await self.client.enqueue("work", payload, queue=queue, **settings)
        await self.client.result(stored["id"], wait=PATIENCE)
        return await self.client.job(stored["id"])

    async def test_drains_a_batch_never_over_its_slots(self) -> None:
        running = {"now": 0, "most": 0}

        async def work(n: int, context: AsyncContext) -> int:
            running["now"] += 1
            running["most"] = max(running["most"], running["now"])
            await asyncio.sleep(0)
            running["now"] -= 1
            return n

        jobs: Any = [{"type": "work", "queue": "many", "payload": n} for n in range(1000)]
        stored = await self.client.enqueue_all(jobs)
        await self.work("many", work, slots=8, prefetch=100)
        last = await self.client.result(stored[-1]["id"], wait=PATIENCE)
        self.assertEqual(last["result"], 999)
        while (await self.client.queue("many"))["completed"] < 1000:
            await asyncio.sleep(0.02)
        self.assertLessEqual(running["most"], 8)
        listed = [job["id"] async for job in self.client.jobs(queue="many", state="completed")]
        self.assertEqual(len(listed), 1000)

    async def test_ends_jobs_as_handlers_say(self) -> None:
        async def work(payload: str, context: AsyncContext) -> Any:
            await context.progress(10, "begun")
            if payload == "snooze" and context.attempt == 1:
                raise Snooze(0.01)
            if payload == "discard":
                raise Discard("no")
            if payload == "fail":
                raise KeyError(payload)
            return payload

        await self.work("ends", work)
        snoozed = await self.ended("ends", "snooze")
        self.assertEqual((snoozed["state"], snoozed["attempt"]), ("completed", 2))
        self.assertEqual(snoozed["progress"]["note"], "begun")
        self.assertEqual((await self.ended("ends", "discard"))["state"], "dead")
        failed = await self.ended("ends", "fail", max_attempts=1)
        self.assertEqual((failed["state"], failed["last_error"]["class"]), ("dead", "KeyError"))
        with self.assertRaises(NotFound):
            await self.client.job("00000000-0000-7000-8000-000000000000")

    async def test_cancels_the_handlers_task_at_a_request_and_at_a_timeout(self) -> None:
        started: asyncio.Queue[str] = asyncio.Queue()
        cancelled: list[str] = []

        async def work(payload: str, context: AsyncContext) -> None:
            await started.put(context.id)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(payload)
                raise

        await self.work("cancels", work, slots=1)
        stored = await self.client.enqueue("work", "asked", queue="cancels")
        await started.get()
        self.assertEqual(await self.client.cancel(stored["id"]), "requested")
        result = await self.client.result(stored["id"], wait=PATIENCE)
        self.assertEqual(result["state"], "cancelled")
        slow = await self.ended("cancels", "slow", timeout_ms=200, max_attempts=1)
        self.assertEqual((slow["state"], slow["last_error"]["class"]), ("dead", "timeout"))
        self.assertEqual(cancelled, ["asked", "slow"])

    async def test_keeps_the_lease_while_a_handler_blocks_the_loop(self) -> None:
        async def work(_: Any, context: AsyncContext) -> str:
            time.sleep(4)
            return "kept"

        await self.work("blocks", work)
        job = await self.ended("blocks")
        self.assertEqual((job["state"], job["attempt"]), ("completed", 1))

    async def test_stops_in_order(self) -> None:
        started, finish = asyncio.Event(), asyncio.Event()

        async def work(payload: str, context: AsyncContext) -> str:
            if payload == "endless":
                await asyncio.sleep(60)
            started.set()
            await finish.wait()
            return "ended"

        worker = await self.work("stops", work, slots=2, grace=0.5)
        second = await self.client.enqueue("work", "endless", queue="stops")
        first = await self.client.enqueue("work", "quick", queue="stops")
        await started.wait()
        stop = asyncio.create_task(worker.stop())
        finish.set()
        await stop
        self.assertEqual((await self.client.job(first["id"]))["result"], "ended")
        released = await self.client.job(second["id"])
        self.assertEqual((released["state"], released["failures"]), ("pending", 0))
