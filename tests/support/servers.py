"""The base of the fake servers: HTTP on a free port of 127.0.0.1."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """It is ended while handlers may still wait."""

    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.ended = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is expected; a wrong request fails its test."""


class Handler(BaseHTTPRequestHandler):
    """Passes each request to `respond`, with any method."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle's algorithm would wait between them.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.opened = time.monotonic()

    def respond(self) -> None:
        raise NotImplementedError

    def do_any(self) -> None:
        self.respond()

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_any

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def wait(self, seconds: float | None = None) -> None:
        """Wait for so long, or until the server ends."""
        self.server.ended.wait(seconds)

    def send(
        self, status: int, body: bytes, headers: Mapping[str, str] = {}, missing_bytes: int = 0
    ) -> None:
        """Send a response; with missing bytes it says that its body is longer, and is cut."""
        self.send_response(status)
        for header in headers.items():
            self.send_header(*header)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body) + missing_bytes))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or missing_bytes > 0

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """Serve; the server's URL."""
    server = Server(handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
