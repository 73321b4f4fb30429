"""The records of the API, by the API's own names."""

from __future__ import annotations

import datetime
from typing import Any, Optional, TypedDict, Union

Time = Union[str, datetime.datetime]


class TypeSettings(TypedDict, total=False):
    """What the jobs of a type have by default."""

    queue: str
    priority: int  # 0 to 1000, lower runs first
    max_attempts: int
    timeout_ms: int
    delivery: str  # at_least_once or at_most_once


class JobSettings(TypeSettings, total=False):
    """What a job can be given at its enqueue."""

    id: str  # a UUID; the same id is the same job
    scheduled_for: Time
    delay_ms: int
    correlation_id: str
    trace_parent: str  # W3C trace context
    group: str
    unique_key: str  # at most one live job has it
    tags: list[str]


class _Named(TypedDict):
    type: str


class NewJob(_Named, JobSettings, total=False):
    """A job of `enqueue_all`."""

    payload: Any


class Enqueued(TypedDict):
    id: str
    outcome: str  # new, exists (this id or idempotency key), duplicate (the unique key's job)


class JobResult(TypedDict):
    id: str
    state: str
    result: Any
    error: Optional[dict[str, str]]


class _JobRequired(TypedDict):
    id: str
    type: str
    state: str  # scheduled pending active completed failed dead stalled cancelled
    queue: str
    priority: int
    payload_bytes: int
    created_at: str
    scheduled_for: Optional[str]
    attempt: int
    failures: int
    crashes: int
    max_attempts: int
    timeout_ms: Optional[int]
    correlation_id: str
    trace_parent: Optional[str]
    group: Optional[str]
    unique_key: Optional[str]
    tags: list[str]
    delivery: str
    last_attempt_at: Optional[str]
    finished_at: Optional[str]
    last_error: Optional[dict[str, str]]


class JobSummary(_JobRequired, total=False):
    """A job as lists give it, without its payload."""

    dead_reason: Optional[str]
    progress: Optional[dict[str, Any]]


class Job(JobSummary, total=False):
    payload: Any
    result: Any
    checkpoint: Any
    attempts: list[dict[str, Any]]


class Page(TypedDict):
    jobs: list[JobSummary]
    next: Optional[str]


class Filter(TypedDict, total=False):
    state: str
    queue: str
    type: str
    group: str
    tag: str
    correlation_id: str
    error: str
    since: Time
    until: Time
    live: bool
    before: str
    limit: int  # of a page; at most 200


class Counts(TypedDict):
    pending: int
    scheduled: int
    active: int
    failed: int
    completed: int
    dead: int
    cancelled: int
    stalled_total: int


class QueueInfo(Counts):
    queue: str
    oldest_pending_s: Optional[float]
    overdue_s: Optional[float]
    paused: bool


class Stats(TypedDict):
    totals: Counts
    queues: list[QueueInfo]
    warnings: list[str]


class _Backlog(TypedDict):
    depth: int
    oldest_s: Optional[float]


class Backlog(_Backlog, total=False):
    queues: dict[str, _Backlog]
