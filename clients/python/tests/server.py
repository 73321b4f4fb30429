"""What tests share: a real server on a store of its own, a proxy that loses answers, waiting."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Callable, Optional
from urllib.parse import urlsplit

from dutiful import Client, Worker

BINARY = os.environ.get("DUTIFUL_BIN", "dutiful")
PATIENCE = 20.0
Answer = tuple[int, dict[str, str], bytes]


class Server:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dutiful-client-")
        self.url = ""
        self.open(0)
        self.client = Client(self.url)

    def open(self, port: Optional[int] = None) -> None:
        port = urlsplit(self.url).port if port is None else port
        folder = self._folder.name
        store = f"sqlite:{Path(folder) / 'jobs.db'}"
        command = [BINARY, "serve", "--listen", f"127.0.0.1:{port}", "--store", store]
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        said = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said.append(line)
            if "listening on http" in line:
                self.url = line.split("listening on ")[1].split()[0]
                threading.Thread(target=_drain, args=(self._process.stderr,), daemon=True).start()
                return
        raise AssertionError(f"the server did not start: {''.join(said)}")

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.client.close()
        self.kill()
        self._folder.cleanup()


class ServerCase(unittest.TestCase):
    """Tests of one class share a server."""

    server: Server
    client: Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.client = cls.server.client

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()

    def work(self, queue: str, handler: Callable[..., Any], **options: Any) -> Worker:
        """A worker of one queue, started, that stops with the test."""
        slots = options.pop("slots", 4)
        settings = {"url": self.server.url, "queues": {queue: slots}, "lease": 3.0, **options}
        worker = Worker(**settings)
        worker.handle("work")(handler)
        worker.start()
        self.addCleanup(worker.stop)
        return worker

    def ended(self, queue: str, payload: Any = None, **settings: Any) -> Any:
        """Enqueues one job and awaits how it ended."""
        id = self.client.enqueue("work", payload, queue=queue, **settings)["id"]
        self.client.result(id, wait=PATIENCE)
        return self.client.job(id)

    def proxy(self, meddle: Callable[[Callable[[], Answer]], Optional[Answer]]) -> str:
        """A proxy before the server; `meddle` gets a function that forwards, and may lose or
        replace the answer."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _proxy_handler(self.server, meddle))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"


def _drain(stream: IO[str]) -> None:
    with stream:
        for _ in stream:
            pass


def _proxy_handler(server: Server, meddle: Callable[..., Optional[Answer]]) -> Any:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None

            def forward() -> Answer:
                kind = {"Content-Type": "application/json"} if body else {}
                url = server.url + self.path
                request = urllib.request.Request(url, body, kind, method=self.command)
                try:
                    with urllib.request.urlopen(request) as answer:
                        return answer.status, {}, answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, {}, error.read()

            answer = meddle(forward)
            if answer is None:
                self.close_connection = True
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_DELETE = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def eventually(look: Callable[[], Any]) -> Any:
    """Awaits that the function answers something true, and answers that."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        seen = look()
        if seen:
            return seen
        time.sleep(0.02)
    raise AssertionError("it never came true")
