"""What every worker does: claim, renew leases, watch times, send ends. How handlers run, the two
kinds of workers say: on threads (worker.py) or in an event loop (aio.py)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, Callable, Optional

from .context import Attempt, Slots
from .errors import LeaseLost, NotFound
from .http import URL_DEFAULT, HangUp, Http, pause_after
from .outbox import Outbox

LEASE = 30.0
GRACE = 25.0
CLAIM_MAX = 1000
EXTEND_MAX = 1000
WAIT_MAX = 30.0
UNSENT_MAX = 5000  # claims pause while so many ends are unsent
TICK = 0.1  # how exact timeouts and self-fencing are
HANG_UP_AFTER = 0.5  # how long a stop waits for claims under way before it hangs up on them
FLUSH = 4.0  # how long a stop goes on sending ends after its grace
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("dutiful")


class Engine(ABC):
    def __init__(
        self,
        url: str = URL_DEFAULT,
        token: Optional[str] = None,
        *,
        name: Optional[str] = None,
        queues: Optional[dict[str, int]] = None,
        prefetch: int = 0,
        lease: float = LEASE,
        grace: float = GRACE,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        """`queues`: slots by queue, so many handlers run at once. `prefetch`: jobs claimed ahead
        for each queue, some hundreds for many tiny jobs. `lease` and `grace` in seconds."""
        self._http = Http(url, token, retry_for=0, tls=tls)
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._lease, self._grace = lease, grace
        self._lock = threading.Lock()
        self._registering = threading.Lock()
        counts = queues or {"default": 10}
        self._slots = [Slots(queue, n, prefetch, self._lock) for queue, n in counts.items()]
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._types: dict[str, Any] = {}
        # By fence: all that is claimed and whose end the server does not know.
        self._attempts: dict[str, Attempt] = {}
        self._id: Optional[str] = None
        self._beat_every = lease / 3
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._claims, self._closing = HangUp(), HangUp()
        self._claimers: list[threading.Thread] = []
        self._others: list[threading.Thread] = []
        send: Callable[[bytes], Any] = lambda body: self._post("finish", body)
        self._outbox = Outbox(send, self._answered, self._failed, self._closing)
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Makes what the way of running handlers needs."""

    @abstractmethod
    def _dispatch(self, slots: Slots, attempts: list[Attempt]) -> None:
        """Runs them when there is room."""

    @abstractmethod
    def _abandoned(self, attempt: Attempt) -> None:
        """Its end is settled over its handler's head: its slot is free for another."""

    def _told(self, attempt: Attempt) -> None:
        """The handler was told to stop."""

    def _start(self) -> None:
        """Registers, waiting for a server that is away, and begins to claim."""
        self._register(float("inf"))
        if self._stopping.is_set():
            return
        self._claimers = [_thread(self._claim, slots) for slots in self._slots]
        self._others = [_thread(self._outbox.run), _thread(self._beat), _thread(self._watch)]

    def _stop(self) -> None:
        """Claims no more, lets what runs end, releases the rest, sends what is left."""
        with self._lock:
            is_first = not self._stopping.is_set()
            self._stopping.set()
            for slots in self._slots:
                slots.changed.notify_all()
        if not is_first:
            self._stopped.wait()
            return
        for attempt in self._open():
            if attempt.leased and attempt.started is None:
                self._settle(attempt, attempt.end("released"))
        _until(lambda: not any(one.is_alive() for one in self._claimers), HANG_UP_AFTER)
        self._claims.now()
        _until(lambda: not any(one.is_alive() for one in self._claimers), HANG_UP_AFTER)
        _until(lambda: not self._open(), self._grace)
        for attempt in self._open():
            self._abandon(attempt, "stopping", attempt.end("released") if attempt.leased else None)
        _until(lambda: not self._attempts, FLUSH)
        self._closing.now()
        self._outbox.close()
        _until(lambda: not any(one.is_alive() for one in self._others), HANG_UP_AFTER)
        if self._id is not None:
            try:
                self._http.call("DELETE", f"/v1/workers/{self._id}", timeout=1)
            except Exception as error:
                log.debug("failed to sign off: %s", error)
        self._http.close()
        self._stopped.set()

    def _open(self) -> list[Attempt]:
        with self._lock:
            return [attempt for attempt in self._attempts.values() if not attempt.settled]

    def _register(self, retry_for: float) -> None:
        queues = {slots.queue: slots.size for slots in self._slots}
        body = {"name": self._name, "queues": queues, "types": self._types}
        try:
            answer = self._http.call(
                "POST", "/v1/workers", body, retry_for=retry_for, hang_up=self._claims
            )
        except Exception:
            if self._stopping.is_set():
                return
            raise
        self._id = answer["id"]
        self._beat_every = min(answer["beat_ms"] / 1000, self._lease / 3)

    def _post(self, verb: str, body: Any, hang_up: Optional[HangUp] = None, **more: Any) -> Any:
        id = self._id
        path = f"/v1/workers/{id}/{verb}"
        try:
            return self._http.call("POST", path, body, hang_up=hang_up or self._closing, **more)
        except NotFound:
            # A server that started anew may not know this worker; several threads find out at once.
            with self._registering:
                if id == self._id:
                    self._register(retry_for=0)
            raise

    def _failed(self, error: Exception) -> bool:
        """After a call that failed. Answers whether to give up, because the worker has closed."""
        if self._closing.is_set():
            return True
        log.warning("%s", error)
        return False

    def _claim(self, slots: Slots) -> None:
        """One thread for each queue, so that one without jobs never keeps another waiting."""
        # The lease counts from before the call, so the wait must leave time for the first beat.
        wait = min(WAIT_MAX, self._lease / 6)
        tries = 0
        while True:
            with self._lock:
                while not self._stopping.is_set() and self._wanted(slots) == 0:
                    slots.changed.wait()
                wanted = self._wanted(slots)
            if self._stopping.is_set():
                return
            began = time.monotonic()
            body = {
                "queues": {slots.queue: min(wanted, CLAIM_MAX)},
                "lease_ms": int(self._lease * 1000),
                "wait_ms": int(wait * 1000),
            }
            try:
                jobs = self._post("claim", body, self._claims, timeout=wait + 10)["jobs"]
                self._take(jobs, slots, began)
                tries = 0
            except Exception as error:
                if self._stopping.is_set() or self._failed(error):
                    return
                self._claims.wait(pause_after(error, tries))
                tries += 1

    def _wanted(self, slots: Slots) -> int:
        return 0 if self._outbox.size() >= UNSENT_MAX else slots.wanted()

    def _wake(self, slots: Slots) -> None:
        if self._wanted(slots) > 0:
            slots.changed.notify()

    def _take(self, jobs: list[dict[str, Any]], slots: Slots, began: float) -> None:
        attempts = [Attempt(job, slots, began) for job in jobs]
        with self._lock:
            slots.held += len(attempts)
            self._attempts.update((attempt.fence, attempt) for attempt in attempts)
        if self._stopping.is_set():
            for attempt in attempts:
                if attempt.leased:
                    self._settle(attempt, attempt.end("released"))
        self._dispatch(slots, attempts)

    def _begin(self, attempt: Attempt) -> bool:
        """Takes a slot for it; not when it was settled while it waited."""
        with self._lock:
            if attempt.settled:
                return False
            attempt.started = time.monotonic()
            attempt.slots.running += 1
            self._wake(attempt.slots)
            return True

    def _settle(self, attempt: Attempt, end: Optional[bytes]) -> bool:
        """Ends an attempt, once: who comes later is not heard. Without an end nothing is sent."""
        with self._lock:
            if attempt.settled:
                return False
            attempt.settled = True
            attempt.slots.held -= 1
            if attempt.started is not None:
                attempt.slots.running -= 1
            if end is None:
                self._attempts.pop(attempt.fence, None)
            self._wake(attempt.slots)
        if end is not None:
            self._outbox.add(attempt.fence, end)
        return True

    def _abandon(self, attempt: Attempt, why: str, end: Optional[bytes] = None) -> None:
        attempt.tell(why)
        self._told(attempt)
        if self._settle(attempt, end) and attempt.started is not None:
            self._abandoned(attempt)

    def _answered(self, answer: dict[str, str]) -> None:
        with self._lock:
            attempt = self._attempts.pop(answer["fence"], None)
            if attempt is not None:
                self._wake(attempt.slots)  # too many ends may have been unsent
        if attempt is not None and answer["status"] == "lease_lost":
            # Also said when an end was sent again because its first answer went missing.
            log.warning("job %s ended after its lease was lost", attempt.job["id"])

    def _beat(self) -> None:
        """Renews all leases, and hears of cancel requests, on a thread that does nothing else."""
        tries = 0
        while not self._closing.is_set():
            began = time.monotonic()
            with self._lock:
                fences = [one.fence for one in self._attempts.values() if one.leased]
            try:
                for at in range(0, max(1, len(fences)), EXTEND_MAX):
                    part = fences[at : at + EXTEND_MAX]
                    body = {"fences": part, "lease_ms": int(self._lease * 1000)}
                    for lease in self._post("extend", body, timeout=self._lease / 6)["leases"]:
                        self._renewed(lease, began)
                tries = 0
                self._closing.wait(self._beat_every - (time.monotonic() - began))
            except Exception as error:
                if self._failed(error):
                    return
                self._closing.wait(pause_after(error, tries))
                tries += 1

    def _renewed(self, lease: dict[str, Any], began: float) -> None:
        attempt = self._attempts.get(lease["fence"])
        if attempt is None or attempt.settled:
            return
        if not lease["held"]:
            self._abandon(attempt, "lease_lost")
            return
        attempt.renewed = began
        if not lease["cancel"] or attempt.why:
            return
        if attempt.started is None:
            self._settle(attempt, attempt.end("cancelled"))
        else:
            attempt.tell("cancelled")
            self._told(attempt)

    def _watch(self) -> None:
        """Ends what ran too long; gives up what was not renewed by two thirds of its lease."""
        while not self._closing.wait(TICK):
            now = time.monotonic()
            for attempt in self._open():
                timeout_ms = attempt.job.get("timeout_ms")
                if attempt.leased and now - attempt.renewed > self._lease * 2 / 3:
                    self._abandon(attempt, "lease_lost")
                elif timeout_ms and attempt.started and now - attempt.started > timeout_ms / 1000:
                    error = {"class": "timeout", "message": f"ran longer than {timeout_ms} ms"}
                    self._abandon(attempt, "timeout", attempt.end("failed", error=error))

    def _say(self, attempt: Attempt, verb: str, body: Any) -> None:
        try:
            path = f"/v1/leases/{attempt.fence}/{verb}"
            self._http.call("POST", path, body, retry_for=self._lease / 3)
        except LeaseLost:
            self._abandon(attempt, "lease_lost")
            raise


def _thread(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True, name="dutiful")
    thread.start()
    return thread


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
