"""A proxy in front of the API that counts requests, delays them, and responds in its place."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import urllib3

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag,Retry-After,X-Request-Id",
}
# Headers that concern one connection only.
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "date", "server"}


class Planned(NamedTuple):
    """What one request gets: after a delay, the API's own response, or this one if it has a status.

    cut closes the connection in the middle of the response.
    """

    status: int = 0
    body: str = "{}"
    headers: Mapping[str, str] = {}
    seconds: float = 0
    cut: bool = False


class Request(NamedTuple):
    """A request that has come."""

    line: str
    headers: Mapping[str, str]


class ApiProxy:
    """Requests by route, like "GET /jobs/list", meet what was planned for it, in this order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.most_at_a_time = 0
        self._running = 0
        self._planned = defaultdict[str, deque[Planned]](deque)
        self._lock = threading.Lock()

    def plan(self, route: str, *planned: Planned) -> None:
        """Forget the requests so far, and give the next ones of the route these responses."""
        with self._lock:
            self.requests.clear()
            self._planned[route] = deque(planned)

    def lines(self, method: str = "") -> list[str]:
        """Method, path and query of each request since the last plan."""
        with self._lock:
            return [each.line for each in self.requests if each.line.startswith(method)]

    def begin(self, request: Request) -> Planned:
        """What a request gets that has just come."""
        with self._lock:
            self.requests.append(request)
            self._running += 1
            self.most_at_a_time = max(self.most_at_a_time, self._running)
            planned = self._planned[request.line.partition("?")[0]]
            return planned.popleft() if planned else Planned()

    def end(self) -> None:
        """A request is over."""
        with self._lock:
            self._running -= 1


@contextmanager
def api_proxy(upstream: str = "") -> Iterator[ApiProxy]:
    """Serve on a free port of 127.0.0.1; without an upstream every response has to be planned."""
    http = urllib3.PoolManager(maxsize=10)
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: Nagle's algorithm would wait between them.
        disable_nagle_algorithm = True

        def respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(f"{self.command} {self.path}", headers)
            planned = proxy.begin(request)
            try:
                ended.wait(planned.seconds)
                status, headers, body = planned.status, {**CORS, **planned.headers}, b""
                if planned.status:
                    body = planned.body.encode()
                elif not planned.cut:
                    status, headers, body = self.forward()
            finally:
                proxy.end()
            self.close_connection = planned.cut
            if not status:
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body) + planned.cut))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = do_OPTIONS = respond

        def forward(self) -> tuple[int, dict[str, str], bytes]:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            response = http.request(
                self.command, upstream + self.path, headers=headers, redirect=False, retries=False
            )
            kept = {k: v for k, v in response.headers.items() if k.lower() not in HOP_BY_HOP}
            return response.status, kept, response.data

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has closed its connection is expected."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy = ApiProxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
        http.clear()
