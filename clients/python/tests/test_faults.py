"""What a worker does when its server dies, when its lease is taken, when it is told to go."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from dutiful import Context
from server import PATIENCE, ServerCase, eventually

PROGRAM = Path(__file__).with_name("program.py")


class FaultsTest(ServerCase):
    def test_completes_everything_when_the_server_is_killed_and_comes_back(self) -> None:
        runs: list[int] = []

        def work(n: int, _: Context) -> int:
            runs.append(n)
            time.sleep(0.005)
            return n

        jobs: Any = [{"type": "work", "queue": "kill", "payload": n} for n in range(600)]
        stored = self.client.enqueue_all(jobs)
        self.work("kill", work, prefetch=50, lease=10)
        eventually(lambda: self.client.queue("kill")["completed"] > 50)
        self.server.kill()
        self.server.open()
        eventually(lambda: self.client.queue("kill")["completed"] == 600)
        for n in (0, 299, 599):
            self.assertEqual(self.client.job(stored[n]["id"])["result"], n)
        self.assertEqual(sorted(runs), list(range(600)), "what was held went on under its lease")

    def test_drops_a_job_whose_lease_was_taken_and_its_end(self) -> None:
        fences: list[str] = []

        def work(_: Any, context: Context) -> str:
            fences.append(context.fence)
            if context.attempt == 1:
                context.stop.wait()
            return f"attempt {context.attempt}"

        self.work("taken", work, slots=1, lease=9.0)
        id = self.client.enqueue("work", queue="taken")["id"]
        fence = eventually(lambda: fences and fences[0])
        url = f"{self.server.url}/v1/leases/{fence}/release"
        urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()
        began = time.monotonic()
        result = self.client.result(id, wait=PATIENCE)
        self.assertEqual((result["state"], result["result"]), ("completed", "attempt 2"))
        self.assertLess(time.monotonic() - began, 5, "told by the beat of 3 s, not by the lease")

    def test_tells_handlers_to_stop_by_two_thirds_of_a_lease_that_it_cannot_renew(self) -> None:
        away, started, told = (threading.Event() for _ in range(3))

        def work(_: Any, context: Context) -> None:
            started.set()
            context.stop.wait()
            told.set()

        url = self.proxy(lambda forward: None if away.is_set() else forward())
        self.work("fenced", work, url=url)
        id = self.client.enqueue("work", queue="fenced")["id"]
        self.assertTrue(started.wait(PATIENCE))
        away.set()
        self.assertTrue(told.wait(2.5), "before the lease of 3 s was over")
        away.clear()
        self.assertNotEqual(self.client.job(id)["state"], "completed")

    def test_stops_in_order_at_a_signal_at_once_at_a_second_one(self) -> None:
        for kind in ("threads", "asyncio"):
            with self.subTest(kind):
                idle = self.program(kind, f"idle-{kind}")
                self.client.enqueue("work", "quick", queue=f"idle-{kind}")
                idle.started()
                idle.process.send_signal(signal.SIGTERM)
                self.assertEqual(idle.process.wait(PATIENCE), 0)
                self.assertEqual(self.client.queue(f"idle-{kind}")["completed"], 1)

                busy = self.program(kind, f"busy-{kind}")
                self.client.enqueue("work", "long", queue=f"busy-{kind}")
                busy.started()
                busy.process.send_signal(signal.SIGINT)
                busy.says("stopping")
                busy.process.send_signal(signal.SIGINT)
                self.assertEqual(busy.process.wait(PATIENCE), 130)

    def program(self, kind: str, queue: str) -> Program:
        program = Program(self.server.url, kind, queue)
        self.addCleanup(program.close)
        return program


class Program:
    """A worker in a process of its own."""

    def __init__(self, url: str, kind: str, queue: str) -> None:
        command = [sys.executable, str(PROGRAM), url, kind, queue]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def started(self) -> None:
        self.says("started")

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said == line, f"it said {said!r}, not {line!r}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
