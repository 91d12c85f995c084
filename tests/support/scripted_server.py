"""A tiny HTTP server that sends the responses of a test, in order; the last one repeats."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.servers import Handler, serving

HANG_UP = 0
HANG = -1


class Scripted(NamedTuple):
    """status HANG_UP closes the connection instead.

    HANG never responds, to no other request on a connection that is as old either: as if a NAT had
    forgotten them all.
    """

    status: int
    body: str = "{}"
    seconds: float = 0
    headers: Mapping[str, str] = {}


class ScriptedServer(NamedTuple):
    url: str
    requests: list[str]


@contextmanager
def scripted_server(*responses: Scripted) -> Iterator[ScriptedServer]:
    """Serve the responses on a free port of 127.0.0.1."""
    requests: list[str] = []

    forgotten_until = 0.0

    class Scripts(Handler):
        def respond(self) -> None:
            nonlocal forgotten_until
            self.read_body()
            if self.opened < forgotten_until:
                self.wait()
            requests.append(f"{self.command} {self.path}")
            response = responses[min(len(requests), len(responses)) - 1]
            if response.status == HANG:
                forgotten_until = time.monotonic()
            self.wait(None if response.status == HANG else response.seconds)
            if response.status <= HANG_UP:
                self.close_connection = True
            else:
                self.send(response.status, response.body.encode(), response.headers)

    with serving(Scripts) as url:
        yield ScriptedServer(url, requests)
