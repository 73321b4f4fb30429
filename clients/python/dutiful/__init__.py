"""What the package offers: a client and a worker, each for threads and for asyncio."""

from .aio import AsyncClient, AsyncContext, AsyncWorker
from .client import Client
from .context import Context
from .errors import (
    BadRequest,
    Conflict,
    Discard,
    DutifulError,
    Forbidden,
    Invalid,
    LeaseLost,
    NotFound,
    Problem,
    RetryAfter,
    Snooze,
    Stopped,
    StoreUnavailable,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    WrongState,
)
from .webhook import WebhookRefused, verify_webhook
from .worker import Worker

__all__ = [
    "AsyncClient",
    "AsyncContext",
    "AsyncWorker",
    "BadRequest",
    "Client",
    "Conflict",
    "Context",
    "Discard",
    "DutifulError",
    "Forbidden",
    "Invalid",
    "LeaseLost",
    "NotFound",
    "Problem",
    "RetryAfter",
    "Snooze",
    "Stopped",
    "StoreUnavailable",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "WebhookRefused",
    "Worker",
    "WrongState",
    "verify_webhook",
]
