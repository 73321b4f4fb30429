"""Ids of jobs: UUIDv7, made here, so that a repeated enqueue is recognised by the server."""

from __future__ import annotations

import secrets
import threading
import time
import uuid

_lock = threading.Lock()
_last_ms = 0
_count = 0


def uuid7() -> str:
    """Ids of one process ascend, so that jobs of a batch run in the order in which they came."""
    global _last_ms, _count
    with _lock:
        now = time.time_ns() // 1_000_000
        _count += 1
        if now > _last_ms:
            _last_ms, _count = now, 0
        if _count > 0xFFF:
            _last_ms, _count = _last_ms + 1, 0
        high = _last_ms << 16 | 0x7000 | _count
    return str(uuid.UUID(int=high << 64 | 0b10 << 62 | secrets.randbits(62)))
