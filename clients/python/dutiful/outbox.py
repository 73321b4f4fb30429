"""Collects how attempts ended and sends that in batches, one call at a time.

What ends while a call is under way goes with the next one, and when nothing is under way an end
leaves at once.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Any, Callable, Optional

from .errors import Problem
from .http import HangUp, pause_after, to_json

BATCH_MAX = 1000
BATCH_BYTES = 4 * 1024 * 1024
LOCKED_PAUSE = 0.1

End = tuple[str, bytes]  # the fence, and the JSON


class Outbox:
    def __init__(
        self,
        send: Callable[[bytes], Any],
        on_answer: Callable[[dict[str, str]], None],
        on_error: Callable[[Exception], bool],
        closing: HangUp,
    ) -> None:
        """`on_error` hears of failed calls and says whether to give up."""
        self._send, self._on_answer, self._on_error = send, on_answer, on_error
        self._closing = closing
        self._ends: SimpleQueue[Optional[End]] = SimpleQueue()

    def add(self, fence: str, end: bytes) -> None:
        self._ends.put((fence, end))

    def close(self) -> None:
        self._ends.put(None)

    def size(self) -> int:
        return self._ends.qsize()

    def run(self) -> None:
        """Goes on, however long the server is away, until it is closed."""
        while True:
            batch = self._next()
            if not batch or not self._send_all(batch):
                return

    def _next(self) -> list[End]:
        """Waits for an end and takes what is there with it; none when it was closed."""
        batch: list[End] = []
        size = 0
        try:
            while len(batch) < BATCH_MAX and size < BATCH_BYTES:
                end = self._ends.get(block=not batch)
                if end is None:
                    if batch:
                        self._ends.put(None)  # for the next look
                    break
                batch.append(end)
                size += len(end[1])
        except Empty:
            pass
        return batch

    def _send_all(self, batch: list[End]) -> bool:
        tries = 0
        while True:
            try:
                answers = self._deliver(batch)
            except Exception as error:
                if self._on_error(error):
                    return False
                self._closing.wait(pause_after(error, tries))
                tries += 1
                continue
            for answer in answers:
                self._settle(answer, batch)
            return True

    def _deliver(self, batch: list[End], last: bool = False) -> list[dict[str, str]]:
        """A batch that is refused is halved until the end is found that the server cannot take."""
        try:
            answer = self._send(b'{"ends":[' + b",".join(end for _, end in batch) + b"]}")
            return list(answer["ends"])
        except Problem as error:
            if error.status not in (400, 413, 422):
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                return self._deliver(batch[:half]) + self._deliver(batch[half:])
            self._on_error(error)
            fence = batch[0][0]
            if last:
                return [{"fence": fence, "status": "lease_lost"}]
            cause = {"class": type(error).__name__, "message": str(error)}
            end = to_json({"fence": fence, "outcome": "failed", "error": cause})
            return self._deliver([(fence, end)], last=True)

    def _settle(self, answer: dict[str, str], batch: list[End]) -> None:
        """Somebody's transaction may hold a lease for a moment: that end is sent again."""
        if answer["status"] != "locked":
            self._on_answer(answer)
            return
        self._closing.wait(LOCKED_PAUSE)
        self._ends.put(next(end for end in batch if end[0] == answer["fence"]))
