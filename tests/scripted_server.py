"""A tiny HTTP server that sends the responses of a test, in order; the last one repeats."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

HANG_UP = 0
HANG = -1


class Scripted(NamedTuple):
    """status HANG_UP closes the connection instead; HANG never responds."""

    status: int
    body: str = "{}"
    seconds: float = 0
    headers: Mapping[str, str] = {}


class ScriptedServer(NamedTuple):
    url: str
    requests: list[str]


@contextmanager
def scripted_server(*responses: Scripted) -> Iterator[ScriptedServer]:
    """Serve on a free port of 127.0.0.1."""
    requests: list[str] = []
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: the second would wait for an acknowledgement.
        disable_nagle_algorithm = True

        def response(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append(f"{self.command} {self.path}")
            response = responses[min(len(requests), len(responses)) - 1]
            ended.wait(response.seconds)
            if response.status == HANG:
                ended.wait()
            if response.status <= HANG_UP:
                self.close_connection = True
                return
            self.send_response(response.status)
            for header in {"Content-Length": str(len(response.body)), **response.headers}.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(response.body.encode())

        do_GET = do_POST = do_PUT = do_DELETE = response

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ScriptedServer(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
