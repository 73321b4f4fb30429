"""The worker on threads against a real server: every way in which a job can end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from dutiful import Context, Discard, RetryAfter, Snooze
from server import PATIENCE, ServerCase, eventually


class CardDeclined(Exception):
    pass


class WorkerTest(ServerCase):
    def test_runs_a_job_and_keeps_what_the_handler_returns(self) -> None:
        seen: list[Context] = []

        def work(payload: Any, context: Context) -> Any:
            seen.append(context)
            return {"twice": payload["n"] * 2, "text": "Grüße 👋"}

        self.work("happy", work)
        job = self.ended("happy", {"n": 21}, correlation_id="request-1", group="g")
        self.assertEqual(job["state"], "completed")
        self.assertEqual(job["result"], {"twice": 42, "text": "Grüße 👋"})
        context = seen[0]
        self.assertEqual((context.id, context.type, context.attempt), (job["id"], "work", 1))
        self.assertEqual((context.correlation_id, context.group), ("request-1", "g"))
        self.assertIn(job["id"], context.fence)
        self.assertTrue(context.idempotency_key)

    def test_drains_more_jobs_than_it_has_slots_each_once_never_over_its_slots(self) -> None:
        runs: Counter[int] = Counter()
        running: Counter[str] = Counter()
        lock = threading.Lock()

        def work(n: int, _: Context) -> None:
            with lock:
                runs[n] += 1
                running["now"] += 1
                running["most"] = max(running["most"], running["now"])
            time.sleep(0)
            with lock:
                running["now"] -= 1

        jobs: Any = [{"type": "work", "queue": "many", "payload": n} for n in range(1000)]
        self.client.enqueue_all(jobs)
        self.work("many", work, slots=8, prefetch=100)
        eventually(lambda: self.client.queue("many")["completed"] == 1000)
        self.assertEqual(sorted(runs.elements()), list(range(1000)))
        self.assertLessEqual(running["most"], 8)

    def test_keeps_progress_and_log_lines(self) -> None:
        def work(_: Any, context: Context) -> None:
            context.progress(40, "half way")
            context.log("line one", "Zeile zwei")

        self.work("says", work)
        job = self.ended("says")
        self.assertEqual(job["progress"]["percent"], 40)
        self.assertEqual(job["progress"]["note"], "half way")
        lines = [line["text"] for line in job["attempts"][0]["log"]]
        self.assertEqual(lines, ["line one", "Zeile zwei"])

    def test_tries_again_after_failures_until_the_job_is_dead(self) -> None:
        def work(_: Any, context: Context) -> None:
            raise RetryAfter(0.001) from CardDeclined("no money")

        self.work("fails", work)
        job = self.ended("fails", max_attempts=3)
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("dead", 3, 3))
        self.assertEqual(job["last_error"]["class"], "CardDeclined")
        self.assertEqual(self.client.retry(job["id"]), "done")

    def test_leaves_the_time_of_a_retry_to_the_server(self) -> None:
        def work(_: Any, context: Context) -> None:
            raise CardDeclined("no money")

        self.work("waits", work)
        id = self.client.enqueue("work", queue="waits")["id"]
        job = eventually(lambda: self.client.job(id)["failures"] and self.client.job(id))
        self.assertEqual(job["state"], "failed")
        self.assertGreater(job["scheduled_for"], job["last_attempt_at"])
        message = job["last_error"]["message"]
        self.assertRegex(message, r"(?s)^no money\n.*test_worker\.py.*raise CardDeclined")

    def test_snoozes_without_charging_a_failure(self) -> None:
        def work(_: Any, context: Context) -> int:
            if context.attempt == 1:
                raise Snooze(0.01)
            return context.attempt

        self.work("snoozes", work)
        job = self.ended("snoozes", max_attempts=1)
        self.assertEqual((job["state"], job["result"], job["failures"]), ("completed", 2, 0))

    def test_discards_at_once(self) -> None:
        def work(_: Any, context: Context) -> None:
            raise Discard("the address does not exist")

        self.work("discards", work)
        job = self.ended("discards", max_attempts=9)
        self.assertEqual((job["state"], job["attempt"]), ("dead", 1))
        self.assertRegex(job["last_error"]["message"], "^the address does not exist")

    def test_fails_what_runs_too_long_tells_it_and_gives_its_slot_to_the_next(self) -> None:
        left_behind = threading.Event()
        self.addCleanup(left_behind.set)
        told = threading.Event()

        def work(payload: str, context: Context) -> str:
            if payload == "slow":
                context.stop.wait()
                told.set()
                left_behind.wait()
            return "ran"

        self.work("slow", work, slots=1)
        slow = self.ended("slow", "slow", timeout_ms=200, max_attempts=1)
        self.assertEqual((slow["state"], slow["last_error"]["class"]), ("dead", "timeout"))
        self.assertTrue(told.wait(PATIENCE))
        self.assertEqual(self.ended("slow", "quick")["result"], "ran")

    def test_cancels_a_job_that_runs(self) -> None:
        started = threading.Event()

        def work(_: Any, context: Context) -> None:
            started.set()
            context.stop.wait()
            context.check()

        self.work("cancels", work)
        id = self.client.enqueue("work", queue="cancels")["id"]
        self.assertTrue(started.wait(PATIENCE))
        self.assertEqual(self.client.cancel(id), "requested")
        self.assertEqual(self.client.result(id, wait=PATIENCE)["state"], "cancelled")

    def test_keeps_the_lease_of_a_handler_that_keeps_its_thread_busy(self) -> None:
        def work(_: Any, context: Context) -> str:
            until = time.monotonic() + 4
            while time.monotonic() < until:
                sum(range(10_000))
            return "kept"

        self.work("busy", work)
        job = self.ended("busy")
        self.assertEqual((job["state"], job["result"], job["attempt"]), ("completed", "kept", 1))

    def test_fails_a_job_whose_result_cannot_be_kept_and_none_of_its_neighbours(self) -> None:
        results: Any = {"big": "x" * 70_000, "odd": object(), "bad": "\ud800", "fine": "fine"}
        names = ["fine", "big", "odd", "bad", "fine"]
        self.client.pause("results")
        jobs: Any = [
            {"type": "work", "queue": "results", "payload": name, "max_attempts": 1}
            for name in names
        ]
        stored = self.client.enqueue_all(jobs)
        self.work("results", lambda name, _: results[name], slots=5)
        self.client.resume("results")
        ends = [self.client.result(one["id"], wait=PATIENCE)["state"] for one in stored]
        self.assertEqual(ends, ["completed", "dead", "dead", "dead", "completed"])

    def test_stops_in_order_what_runs_ends_what_does_not_end_is_released(self) -> None:
        quick, endless, finish = (threading.Event() for _ in range(3))
        left_behind = threading.Event()
        self.addCleanup(left_behind.set)

        def work(payload: str, _: Context) -> str:
            if payload == "endless":
                endless.set()
                left_behind.wait()
            quick.set()
            finish.wait()
            return "ended"

        worker = self.work("stops", work, slots=2, grace=0.5)
        first = self.client.enqueue("work", "quick", queue="stops")["id"]
        second = self.client.enqueue("work", "endless", queue="stops")["id"]
        self.assertTrue(quick.wait(PATIENCE) and endless.wait(PATIENCE))
        stop = threading.Thread(target=worker.stop)
        stop.start()
        finish.set()
        stop.join()
        self.assertEqual(self.client.job(first)["result"], "ended")
        released = self.client.job(second)
        self.assertEqual((released["state"], released["failures"]), ("pending", 0))
        info = [one for one in self.client.workers() if "stops" in one["queues"]]
        self.assertEqual([one["state"] for one in info], ["stopped"])

    def test_runs_once_at_most_without_a_lease(self) -> None:
        told: list[bool] = []
        ended = threading.Event()

        def work(_: Any, context: Context) -> None:
            told.append(context.stop.wait(1))  # far longer than two thirds of the lease
            ended.set()

        self.work("at-most", work, lease=1.0)
        id = self.client.enqueue("work", queue="at-most", delivery="at_most_once")["id"]
        self.assertTrue(ended.wait(PATIENCE))
        self.assertEqual((self.client.job(id)["state"], told), ("completed", [False]))
