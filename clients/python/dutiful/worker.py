"""A worker whose handlers are plain functions, each slot a thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .context import Attempt, Context, Slots
from .engine import SIGNALS, Engine
from .types import TypeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack  # known to type checkers; not needed to run

Handler = TypeVar("Handler", bound=Callable[[Any, Context], Any])


class Worker(Engine):
    """What a handler returns is the job's result (JSON); what it raises is a failure."""

    def handle(self, type: str, **settings: Unpack[TypeSettings]) -> Callable[[Handler], Handler]:
        """`@worker.handle("send_email", max_attempts=5)` over `def send_email(payload, context)`"""

        def register(handler: Handler) -> Handler:
            self._handlers[type] = handler
            self._types[type] = settings
            return handler

        return register

    def run(self, signals: Iterable[signal.Signals] = SIGNALS) -> None:
        """Works until SIGTERM, SIGINT or `stop()`, then stops in order; a second signal ends at
        once. Signals are heard in the main thread only: elsewhere pass `signals=()`."""
        count = 0

        def on_signal(number: int, _: object) -> None:
            nonlocal count
            count += 1
            if count > 1:
                os._exit(128 + number)
            # The one thing here that may be used while a lock is held by what was interrupted.
            self._asked.put(None)

        def begin() -> None:
            try:
                self.start()
            except BaseException as error:
                self._asked.put(error)

        before = {number: signal.signal(number, on_signal) for number in signals}
        try:
            threading.Thread(target=begin, daemon=True, name="dutiful").start()
            error = self._asked.get()
            self.stop()
            if error is not None:
                raise error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self) -> None:
        for slots in self._slots:
            for _ in range(slots.size):
                self._open_slot(slots)
        self._start()

    def stop(self) -> None:
        self._asked.put(None)
        self._stop()
        for slots in self._slots:
            for _ in range(slots.size):
                self._ready[slots.queue].put(None)

    def _prepare(self) -> None:
        self._ready: dict[str, SimpleQueue[Optional[Attempt]]] = {}
        for slots in self._slots:
            self._ready[slots.queue] = SimpleQueue()
        self._asked: SimpleQueue[Optional[BaseException]] = SimpleQueue()

    def _open_slot(self, slots: Slots) -> None:
        threading.Thread(target=self._serve, args=(slots,), daemon=True, name="dutiful").start()

    def _dispatch(self, slots: Slots, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            self._ready[slots.queue].put(attempt)

    def _abandoned(self, attempt: Attempt) -> None:
        # A thread cannot be stopped, only left behind: it ends when its handler returns.
        self._open_slot(attempt.slots)

    def _serve(self, slots: Slots) -> None:
        ready = self._ready[slots.queue]
        while True:
            attempt = ready.get()
            if attempt is None:
                return
            if not self._begin(attempt):
                continue
            if not self._settle(attempt, self._run(attempt)):
                return

    def _run(self, attempt: Attempt) -> bytes:
        try:
            handler = self._handlers[attempt.job["type"]]
            return attempt.completed(handler(attempt.job["payload"], Context(attempt, self._say)))
        except BaseException as error:  # also what would end the thread, as sys.exit() does
            return attempt.failed(error)
