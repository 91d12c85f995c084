"""A tiny HTTP server that answers what a test wrote down, in order; the last answer repeats."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

HANG_UP = 0
HANG = -1


class Scripted(NamedTuple):
    """status HANG_UP closes the connection instead; HANG never answers."""

    status: int
    body: str = "{}"
    seconds: float = 0


class ScriptedServer(NamedTuple):
    url: str
    requests: list[str]


@contextmanager
def scripted_server(*answers: Scripted) -> Iterator[ScriptedServer]:
    """Serve on a free port of 127.0.0.1."""
    requests: list[str] = []
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: the second would wait for an acknowledgement.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append(f"{self.command} {self.path}")
            answer = answers[min(len(requests), len(answers)) - 1]
            ended.wait(answer.seconds)
            if answer.status == HANG:
                ended.wait()
            if answer.status <= HANG_UP:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body.encode())

        do_GET = do_POST = do_PUT = do_DELETE = answer

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
