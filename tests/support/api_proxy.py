"""A proxy in front of the API that counts requests, delays them, and responds in its place."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import urllib3

from tests.support.servers import Handler, serving

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
    line: str
    headers: Mapping[str, str]


class ApiProxy:
    """Requests by route, like "GET /jobs/list", meet what was planned for it, in this order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
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
            planned = self._planned[request.line.partition("?")[0]]
            return planned.popleft() if planned else Planned()


@contextmanager
def api_proxy(upstream: str = "") -> Iterator[ApiProxy]:
    """Serve on a free port of 127.0.0.1; without an upstream every response has to be planned."""

    class Proxy(Handler):
        def respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(f"{self.command} {self.path}", headers)
            planned = proxy.begin(request)
            self.wait(planned.seconds)
            status, headers, body = planned.status, {**CORS, **planned.headers}, b""
            if planned.status:
                body = planned.body.encode()
            elif not planned.cut:
                status, headers, body = self.forward()
            self.close_connection = planned.cut
            if status:
                self.send(status, body, headers, missing_bytes=int(planned.cut))

        def forward(self) -> tuple[int, dict[str, str], bytes]:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            response = http.request(
                self.command, upstream + self.path, headers=headers, redirect=False, retries=False
            )
            kept = {k: v for k, v in response.headers.items() if k.lower() not in HOP_BY_HOP}
            return response.status, kept, response.data

    with urllib3.PoolManager(maxsize=10) as http, serving(Proxy) as url:
        proxy = ApiProxy(url)
        yield proxy
