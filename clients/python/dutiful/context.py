"""One run of a job: what its handler is given, and what the handler's answer means for the job."""

from __future__ import annotations

import threading
import time
import traceback
from typing import Any, Callable, Optional

from .errors import Discard, RetryAfter, Snooze, Stopped
from .http import to_json

STACK_FRAMES = 5
MESSAGE_CHARS = 8_000  # the server keeps 16 KiB of a message


class Slots:
    """The slots of one queue, and how many jobs to claim for them."""

    def __init__(self, queue: str, size: int, prefetch: int, lock: threading.Lock) -> None:
        self.queue = queue
        self.size = size
        self.prefetch = prefetch
        self.held = 0  # claimed and not ended
        self.running = 0
        self.changed = threading.Condition(lock)

    def wanted(self) -> int:
        """None while half of the prefetch waits for a slot: small claims cost most."""
        if self.held - self.running > self.prefetch / 2:
            return 0
        return max(0, self.size + self.prefetch - self.held)


class Attempt:
    """The worker's side of a run."""

    def __init__(self, job: dict[str, Any], slots: Slots, renewed: float) -> None:
        """`renewed` is a time before which the lease surely began."""
        self.job = job
        self.fence: str = job["fence"]
        self.slots = slots
        self.renewed = renewed
        # A job that runs at most once is completed at the claim: no lease to renew or to lose.
        self.leased = job.get("delivery") != "at_most_once"
        self.started: Optional[float] = None
        self.settled = False
        self.why: Optional[str] = None
        self.stop = threading.Event()

    def tell(self, why: str) -> None:
        """Tells the handler to stop; the first reason counts."""
        self.why = self.why or why
        self.stop.set()

    def end(self, outcome: str, **fields: Any) -> bytes:
        end = {"fence": self.fence, "outcome": outcome, **fields}
        if self.started is not None:
            end["ran_ms"] = int((time.monotonic() - self.started) * 1000)
        return to_json(end)

    def completed(self, result: Any) -> bytes:
        try:
            return self.end("completed") if result is None else self.end("completed", result=result)
        except (TypeError, ValueError) as error:  # it cannot be written as JSON
            return self.failed(error)

    def failed(self, error: BaseException) -> bytes:
        if self.why == "cancelled":
            return self.end("cancelled")
        if isinstance(error, Snooze):
            return self.end("snoozed", snooze_ms=int(error.seconds * 1000))
        if isinstance(error, Discard):
            return self.end("discarded", error=_described(error))
        if isinstance(error, RetryAfter):
            cause = _described(error.__cause__ or error)
            return self.end("failed", error=cause, retry_after_ms=int(error.seconds * 1000))
        return self.end("failed", error=_described(error))


def _described(error: BaseException) -> dict[str, str]:
    frames = traceback.format_tb(error.__traceback__)[-STACK_FRAMES:]
    message = f"{error}\n{''.join(frames)}".strip()[:MESSAGE_CHARS]
    # What cannot be written in UTF-8 must not keep the failure from being told.
    return {"class": type(error).__name__, "message": message.encode(errors="replace").decode()}


class JobFields:
    """What every context has. `stop` is set when the handler must stop."""

    id: str
    type: str
    queue: str
    payload: Any
    attempt: int
    failures: int
    crashes: int
    max_attempts: int
    timeout_ms: Optional[int]
    delivery: str
    created_at: str
    run_at: str
    claimed_at: str
    correlation_id: str
    trace_parent: Optional[str]
    group: Optional[str]
    idempotency_key: str  # the same for all attempts: other systems recognise a repeat by it
    fence: str  # names this attempt and no other; for systems that can refuse a stale writer

    def __init__(self, attempt: Attempt, say: Callable[[Attempt, str, Any], None]) -> None:
        vars(self).update(attempt.job)
        self.stop = attempt.stop
        self._attempt = attempt
        self._say = say

    def check(self) -> None:
        """Raises Stopped when the handler must stop: cancelled, out of time, or its lease lost."""
        if self.stop.is_set():
            raise Stopped(self._attempt.why or "stopping")


class Context(JobFields):
    """What a handler gets beside the payload."""

    def progress(self, percent: float, note: Optional[str] = None) -> None:
        """How far the job is, 0 to 100, shown on the dashboard."""
        self._say(self._attempt, "progress", {"percent": percent, "note": note})

    def log(self, *lines: object) -> None:
        """Lines for the log of this attempt."""
        self._say(self._attempt, "log", {"lines": [str(line) for line in lines]})
