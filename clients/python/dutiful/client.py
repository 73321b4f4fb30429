"""The front door: enqueue, look, cancel, retry. One method is one call of the HTTP API."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional, cast
from urllib.parse import quote, urlencode

from .http import CALL_TIMEOUT, RETRY_FOR, URL_DEFAULT, Http, rfc3339, to_json
from .ids import uuid7
from .types import Backlog, Enqueued, Filter, Job, JobResult, JobSettings, JobSummary, NewJob
from .types import Page, QueueInfo, Stats, Time

if TYPE_CHECKING:
    from typing_extensions import Unpack  # known to type checkers; not needed to run

BATCH_MAX = 1000
# The server bounds the body of a request; large payloads travel in more, smaller batches.
BATCH_BYTES = 4 * 1024 * 1024
WAIT_MAX = 20.0
ENDED = ("completed", "dead", "cancelled")


class Client:
    """May be used from many threads."""

    def __init__(
        self,
        url: str = URL_DEFAULT,
        token: Optional[str] = None,
        *,
        retry_for: float = RETRY_FOR,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        """`retry_for`: seconds for which a call is repeated while the server is away or busy."""
        self._http = Http(url, token, retry_for, tls)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enqueue(
        self,
        type: str,
        payload: Any = None,
        *,
        idempotency_key: Optional[str] = None,
        **settings: Unpack[JobSettings],
    ) -> Enqueued:
        """Stores one job; durable when this returns."""
        job = {"type": type, "payload": payload, **settings}
        if idempotency_key is None:
            job.setdefault("id", uuid7())
            return cast(Enqueued, self._post("/v1/jobs", job))
        headers = {"Idempotency-Key": idempotency_key}
        return cast(Enqueued, self._http.call("POST", "/v1/jobs", job, headers=headers))

    def enqueue_all(self, jobs: Iterable[NewJob]) -> list[Enqueued]:
        """Stores many, a thousand in one piece; answers in the same order."""
        answers: list[Enqueued] = []
        for batch in _batches(jobs):
            body = b'{"jobs":[' + b",".join(batch) + b"]}"
            answers += self._post("/v1/jobs/batch", body)["jobs"]
        return answers

    def job(self, id: str) -> Job:
        return cast(Job, self._get(f"/v1/jobs/{quote(id, '')}"))

    def result(self, id: str, wait: float = 0) -> JobResult:
        """The result once the job has ended, or as it stands after `wait` seconds."""
        until = time.monotonic() + wait
        while True:
            left = max(0.0, until - time.monotonic())
            wait_ms = int(min(left, WAIT_MAX) * 1000)
            path = f"/v1/jobs/{quote(id, '')}/result"
            answer = cast(JobResult, self._get(path, wait_ms=wait_ms))
            if wait_ms == 0 or answer["state"] in ENDED:
                return answer

    def page(self, **filter: Unpack[Filter]) -> Page:
        """One page, newest first. It may be short and still have a `next`."""
        return cast(Page, self._get("/v1/jobs", **filter))

    def jobs(self, **filter: Unpack[Filter]) -> Iterator[JobSummary]:
        """All jobs that match, page after page."""
        while True:
            page = self.page(**filter)
            yield from page["jobs"]
            if not page["next"]:
                return
            filter["before"] = page["next"]

    def cancel(self, id: str) -> str:
        """`done`, or `requested` when a worker runs it and will hear of it with its next beat."""
        return self._change(id, "cancel")

    def retry(self, id: str) -> str:
        return self._change(id, "retry")

    def discard(self, id: str) -> str:
        return self._change(id, "discard")

    def reschedule(
        self, id: str, *, at: Optional[Time] = None, delay_ms: Optional[int] = None
    ) -> None:
        when = {"delay_ms": delay_ms} if at is None else {"at": rfc3339(at)}
        self._post(f"/v1/jobs/{quote(id, '')}/reschedule", when)

    def delete(self, id: str) -> None:
        self._http.call("DELETE", f"/v1/jobs/{quote(id, '')}")

    def queues(self) -> list[QueueInfo]:
        return cast("list[QueueInfo]", self._get("/v1/queues")["queues"])

    def queue(self, queue: str) -> QueueInfo:
        return cast(QueueInfo, self._get(f"/v1/queues/{quote(queue, '')}"))

    def pause(self, queue: str) -> bool:
        return bool(self._post(f"/v1/queues/{quote(queue, '')}/pause")["changed"])

    def resume(self, queue: str) -> bool:
        return bool(self._post(f"/v1/queues/{quote(queue, '')}/resume")["changed"])

    def workers(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self._get("/v1/workers")["workers"])

    def stats(self) -> Stats:
        return cast(Stats, self._get("/v1/stats"))

    def backlog(self, queue: Optional[str] = None) -> Backlog:
        """Due jobs and the age of the oldest; of one queue when it is named. For autoscalers."""
        return cast(Backlog, self._get("/v1/backlog", queue=queue))

    def _change(self, id: str, verb: str) -> str:
        return str(self._post(f"/v1/jobs/{quote(id, '')}/{verb}")["change"])

    def _post(self, path: str, body: Any = None) -> Any:
        return self._http.call("POST", path, body)

    def _get(self, path: str, **query: Any) -> Any:
        given = {name: _text(value) for name, value in query.items() if value is not None}
        timeout = CALL_TIMEOUT + query.get("wait_ms", 0) / 1000
        search = f"?{urlencode(given)}" if given else ""
        return self._http.call("GET", path + search, timeout=timeout)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return rfc3339(value) if isinstance(value, datetime.datetime) else str(value)


def _batches(jobs: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """Cuts jobs, each with an id of its own, into JSON texts of a bounded count and length."""
    texts: list[bytes] = []
    size = 0
    for job in jobs:
        text = to_json({"id": uuid7(), "payload": None, **job})
        if len(texts) == BATCH_MAX or (texts and size + len(text) > BATCH_BYTES):
            yield texts
            texts, size = [], 0
        texts.append(text)
        size += len(text)
    if texts:
        yield texts
