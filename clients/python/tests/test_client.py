"""The client against a real server: what is stored, found, changed and refused."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from dutiful import Client, Conflict, NotFound, Problem, Unreachable, WrongState
from server import ServerCase, eventually

NOBODY = "00000000-0000-7000-8000-000000000000"


class ClientTest(ServerCase):
    def test_stores_a_job_and_gives_back_every_value_as_it_was(self) -> None:
        payload = {
            "numbers": [0, -1, 0.1, 1e300, 5e-324, 2**53 + 1, 10**40, -0.5, 1.0],
            "texts": ["", "Grüße", "日本語", "👩‍👩‍👧", "\x01\x1f\"\\/", "\u2028"],
            "nested": {"a": [None, True, False, {}], "": 1},
        }
        settings: Any = {"queue": "round", "priority": 3, "max_attempts": 7, "tags": ["ä", "b"]}
        stored = self.client.enqueue("round_trip", payload, **settings)
        self.assertEqual(stored["outcome"], "new")
        job: Any = self.client.job(stored["id"])
        self.assertEqual(job["payload"], payload)
        self.assertEqual({name: job[name] for name in settings}, settings)
        self.assertEqual(job["state"], "pending")

    def test_stores_one_job_for_one_idempotency_key(self) -> None:
        one = self.client.enqueue("charge", 1, idempotency_key="order-7", queue="key")
        two = self.client.enqueue("charge", 1, idempotency_key="order-7", queue="key")
        self.assertEqual(two, {"id": one["id"], "outcome": "exists"})
        self.assertEqual(self.client.queue("key")["pending"], 1)

    def test_stores_one_job_for_one_id_and_one_unique_key(self) -> None:
        id = self.client.enqueue("charge", 1, queue="once")["id"]
        same = self.client.enqueue("charge", 1, id=id, queue="once")
        self.assertEqual(same, {"id": id, "outcome": "exists"})
        first = self.client.enqueue("charge", 1, unique_key="u", queue="once")
        second = self.client.enqueue("charge", 1, unique_key="u", queue="once")
        self.assertEqual(second, {"id": first["id"], "outcome": "duplicate"})
        self.assertEqual(self.client.queue("once")["pending"], 2)

    def test_stores_thousands_in_batches_in_order_and_lists_them_page_after_page(self) -> None:
        jobs: Any = ({"type": "t", "queue": "bulk", "payload": n} for n in range(2500))
        stored = self.client.enqueue_all(jobs)
        self.assertEqual([one["outcome"] for one in stored], ["new"] * 2500)
        self.assertEqual(self.client.job(stored[1700]["id"])["payload"], 1700)
        listed = [job["id"] for job in self.client.jobs(queue="bulk", limit=200)]
        self.assertEqual(listed[::-1], [one["id"] for one in stored])

    def test_stores_one_job_when_the_answer_to_the_first_try_went_missing(self) -> None:
        lost = []

        def meddle(forward: Any) -> Any:
            answer = forward()
            lost.append(answer)
            return answer if len(lost) > 1 else None

        with Client(self.proxy(meddle)) as client:
            stored = client.enqueue("lost", {}, queue="lost")
        self.assertEqual(stored["outcome"], "exists")
        self.assertEqual(self.client.queue("lost")["pending"], 1)

    def test_waits_as_long_as_a_busy_server_asks(self) -> None:
        calls = []

        def meddle(forward: Any) -> Any:
            calls.append(1)
            if len(calls) > 1:
                return forward()
            return 503, {"Retry-After": "1"}, b'{"status":503,"code":"store_unavailable"}'

        began = time.monotonic()
        with Client(self.proxy(meddle)) as client:
            client.stats()
        self.assertGreaterEqual(time.monotonic() - began, 1)
        self.assertEqual(len(calls), 2)

    def test_changes_jobs(self) -> None:
        id = self.client.enqueue("t", queue="change", delay_ms=3_600_000)["id"]

        def due() -> datetime:
            text = str(self.client.job(id)["scheduled_for"])[:19] + "+00:00"
            return datetime.fromisoformat(text)

        self.assertEqual(self.client.job(id)["state"], "scheduled")
        now = datetime.now(timezone.utc)
        self.client.reschedule(id, at=now + timedelta(hours=2))
        self.assertGreater(due(), now + timedelta(minutes=119))
        self.client.reschedule(id, delay_ms=3_600_000)
        self.assertLess(due(), now + timedelta(minutes=119))
        self.assertEqual(self.client.cancel(id), "done")
        self.assertEqual(self.client.result(id, wait=5)["state"], "cancelled")
        self.assertEqual(self.client.retry(id), "done")
        self.assertEqual(self.client.job(id)["state"], "pending")
        self.client.delete(id)
        self.assertRaises(NotFound, self.client.job, id)

    def test_pauses_and_resumes_queues_and_tells_numbers(self) -> None:
        self.client.enqueue("t", queue="numbers")
        self.assertTrue(self.client.pause("numbers"))
        self.assertFalse(self.client.pause("numbers"))
        paused = [one["queue"] for one in self.client.queues() if one["paused"]]
        self.assertEqual(paused, ["numbers"])
        self.assertTrue(self.client.resume("numbers"))
        eventually(lambda: self.client.backlog("numbers")["depth"] == 1)
        self.assertEqual(self.client.backlog()["queues"]["numbers"]["depth"], 1)
        self.assertGreaterEqual(self.client.stats()["totals"]["pending"], 1)

    def test_raises_problems_as_errors_of_their_class(self) -> None:
        with self.assertRaises(NotFound) as caught:
            self.client.job(NOBODY)
        self.assertEqual((caught.exception.status, caught.exception.code), (404, "not_found"))
        first = self.client.enqueue("t", queue="problems", unique_key="taken")["id"]
        self.assertRaises(WrongState, self.client.retry, first)
        self.client.cancel(first)
        self.client.enqueue("t", queue="problems", unique_key="taken")
        self.assertRaises(Conflict, self.client.retry, first)
        self.assertRaises(Problem, self.client.enqueue, "bad type!", 1)
        self.assertRaises(ValueError, self.client.enqueue, "t", float("nan"))
        self.assertRaises(Unreachable, Client("http://127.0.0.1:9", retry_for=0.2).stats)

    def test_goes_on_with_a_call_when_the_server_comes_back(self) -> None:
        self.server.kill()
        stored: Any = []
        call = lambda: stored.append(self.client.enqueue("t", "kept", queue="away"))
        thread = threading.Thread(target=call)
        thread.start()
        self.server.open()
        thread.join()
        self.assertEqual(self.client.job(stored[0]["id"])["payload"], "kept")
