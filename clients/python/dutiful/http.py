"""Calls to the server: JSON in and out over kept connections, typed errors, repeats with jitter."""

from __future__ import annotations

import datetime
import json
import random
import socket
import ssl
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from .errors import DutifulError, Problem, Unreachable, problem_of

URL_DEFAULT = "http://127.0.0.1:7700"
CALL_TIMEOUT = 30.0
RETRY_FOR = 30.0
PAUSE_FIRST = 0.1
PAUSE_MAX = 5.0
IDLE_CONNECTIONS_MAX = 32
PASSING = (429, 502, 503, 504)


class HangUp(threading.Event):
    """Set it with `now()` to end calls under way, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: set[HTTPConnection] = set()

    def now(self) -> None:
        self.set()
        for connection in list(self.connections):
            if connection.sock is not None:
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it was closed meanwhile


class Http:
    """A server, and the connections to it that are free. May be used from many threads."""

    def __init__(
        self,
        url: str = URL_DEFAULT,
        token: Optional[str] = None,
        retry_for: float = RETRY_FOR,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the http:// or https:// address of a server")
        self._url = url.rstrip("/")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._retry_for = retry_for
        self._tls = tls
        self._idle: list[HTTPConnection] = []

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Optional[dict[str, str]] = None,
        timeout: float = CALL_TIMEOUT,
        retry_for: Optional[float] = None,
        hang_up: Optional[HangUp] = None,
    ) -> Any:
        """One call, repeated while the trouble is a passing one: whatever must not happen twice
        names an id or a fence, so each call may. Bytes are a body that is JSON already."""
        data = body if body is None or isinstance(body, bytes) else to_json(body)
        sent = dict(headers or {})
        if data is not None:
            sent["Content-Type"] = "application/json"
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        hang_up = hang_up or HangUp()
        until = time.monotonic() + (self._retry_for if retry_for is None else retry_for)
        tries = 0
        while True:
            try:
                return self._once(method, path, data, sent, timeout, hang_up)
            except DutifulError as error:
                pause = pause_after(error, tries)
                passing = isinstance(error, Unreachable) or error.status in PASSING  # type: ignore
                if not passing or time.monotonic() + pause > until or hang_up.wait(pause):
                    raise
            tries += 1

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _once(
        self,
        method: str,
        path: str,
        data: Optional[bytes],
        headers: dict[str, str],
        timeout: float,
        hang_up: HangUp,
    ) -> Any:
        while True:
            connection, is_kept = self._connection(timeout)
            hang_up.connections.add(connection)
            try:
                if hang_up.is_set():
                    raise OSError("hung up")
                connection.request(method, self._prefix + path, data, headers)
                response = connection.getresponse()
                text = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                # The server may close a connection that was idle: that says nothing of the server.
                if is_kept and not hang_up.is_set() and not isinstance(error, socket.timeout):
                    continue
                why = f"{method} {self._url}{path}: {error or type(error).__name__}"
                raise Unreachable(why) from error
            finally:
                hang_up.connections.discard(connection)
            if response.will_close or len(self._idle) >= IDLE_CONNECTIONS_MAX:
                connection.close()
            else:
                self._idle.append(connection)
            return _answer(response, text)

    def _connection(self, timeout: float) -> tuple[HTTPConnection, bool]:
        try:
            connection = self._idle.pop()  # atomic, as is append
        except IndexError:
            if self._scheme == "https":
                tls = {"timeout": timeout, "context": self._tls}
                return HTTPSConnection(self._host, self._port, **tls), False  # type: ignore
            return HTTPConnection(self._host, self._port, timeout=timeout), False
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection, True


def _answer(response: HTTPResponse, text: bytes) -> Any:
    try:
        fields = json.loads(text) if text else None
    except ValueError as error:
        if response.status < 400:
            raise Unreachable(f"the answer is not JSON: {text[:80]!r}") from error
        fields = None  # a proxy's page of HTML: the status has to do
    if response.status < 400:
        return fields
    try:
        retry_after = float(response.getheader("Retry-After") or "0")
    except ValueError:
        retry_after = 0
    raise problem_of(response.status, fields if isinstance(fields, dict) else {}, retry_after)


def pause_after(error: Exception, tries: int) -> float:
    """Full jitter over a doubling pause, never before the time that the server asked for."""
    asked = error.retry_after if isinstance(error, Problem) else 0
    return asked + random.random() * min(PAUSE_MAX, PAUSE_FIRST * 2.0 ** min(tries, 10))


def to_json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def rfc3339(value: Union[str, datetime.datetime]) -> str:
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone: datetime.now(timezone.utc)")
    return value.isoformat()


def _time(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return rfc3339(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_time
)
