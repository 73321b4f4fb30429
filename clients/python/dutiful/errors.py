"""What can go wrong, as types: refusals of the server, and what handlers say or are told."""

from __future__ import annotations

from typing import Any, Optional


class DutifulError(Exception):
    """The root of all errors of this package."""


class Unreachable(DutifulError):
    """The server could not be reached, or gave no usable answer, for as long as we were to try."""


class Problem(DutifulError):
    """The server refused. `code` is the API's own word for why; `status` is that of HTTP."""

    def __init__(self, status: int, fields: dict[str, Any], retry_after: float = 0) -> None:
        said = fields.get("detail") or fields.get("title")
        super().__init__(said or f"the server answered with status {status}")
        self.status = status
        self.code: str = fields.get("code", "unknown")
        self.retry_after = retry_after


class BadRequest(Problem):
    pass


class Unauthorized(Problem):
    pass


class Forbidden(Problem):
    pass


class NotFound(Problem):
    pass


class Conflict(Problem):
    pass


class LeaseLost(Problem):
    pass


class WrongState(Problem):
    pass


class TooLarge(Problem):
    pass


class Invalid(Problem):
    pass


class TooManyRequests(Problem):
    pass


class StoreUnavailable(Problem):
    pass


_BY_CODE: dict[Any, type[Problem]] = {
    "bad_request": BadRequest,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "conflict": Conflict,
    "lease_lost": LeaseLost,
    "wrong_state": WrongState,
    "too_large": TooLarge,
    "invalid": Invalid,
    "too_many_requests": TooManyRequests,
    "store_unavailable": StoreUnavailable,
}


def problem_of(status: int, fields: dict[str, Any], retry_after: float) -> Problem:
    """Makes the error of the class that belongs to the problem's code."""
    return _BY_CODE.get(fields.get("code"), Problem)(status, fields, retry_after)


class Snooze(DutifulError):
    """Raised by a handler: run me again after so many seconds; no failure is charged."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


class Discard(DutifulError):
    """Raised by a handler: this failed, and trying again is useless; the job is dead at once."""


class RetryAfter(DutifulError):
    """Raised by a handler: this failed; try again after so many seconds, not by the backoff."""

    def __init__(self, seconds: float, message: Optional[str] = None) -> None:
        super().__init__(message or "failed")
        self.seconds = seconds


class Stopped(DutifulError):
    """Raised by `context.check()`. `why`: cancelled, timeout, lease_lost or stopping."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the handler is to stop: {why}")
        self.why = why
