"""What a caller of the Lambda sees: an invocation, its response, the time that runs down.

`lambda_instance` invokes in a process of its own, as Lambda does, that a test can hold or kill.
"""

import importlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from tests.support.events import REQUEST_ID, ROUTES, SECONDS, Context, Response, lambda_event

SOAK = bool(os.environ.get("SOAK"))
# Amounts that take a minute, also in CI.
FULL = SOAK or "CI" in os.environ
# What no error may name: the table, the bucket, a library, the code, AWS's own words.
INSIDE = re.compile(
    r"job-requests|job-files|boto|urllib|chalice|dynamo|amazon|\bS3\b|Traceback|\.py\b"
    r"|Exception|Error\b|SlowDown|127\.0\.0\.1",
    re.IGNORECASE,
)

# Each instance is a fork of one process that has made these imports: it starts at once.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.support.lambda_instance", "botocore.session"])


class Invocation(NamedTuple):
    """A request, as API Gateway hands it on; `claims` are those of `user` where not given."""

    path: str
    query: Mapping[str, Any] = {}
    user: str | None = None
    claims: Any = None
    headers: dict[str, str] | None = None
    method: str | None = None

    @property
    def event(self) -> dict[str, Any]:
        method = self.method or ROUTES[self.path]
        return lambda_event(
            method,
            self.path,
            self.query,
            user=self.user,
            claims=self.claims if self.user is None else None,
            headers=self.headers,
        )


def invoke(app: Any, invocation: Invocation, seconds: float = SECONDS) -> Response:
    """The handler's response, of the contract (see check_response), and within its time."""
    context = Context(seconds)
    response = app(invocation.event, context)
    assert context.get_remaining_time_in_millis() > 0
    assert response["multiValueHeaders"] == {}
    got = Response(response["statusCode"], response["headers"], response["body"])
    check_response(got.status, got.headers, got.body)
    return got


def check_response(status: int, headers: Mapping[str, str], body: str) -> None:
    """What the contract says of every response."""
    for name, value in headers.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[ -~]*", value)
    assert headers["Content-Type"] == "application/json"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Expose-Headers"] == "ETag,Retry-After,X-Request-Id"
    assert headers["X-Request-Id"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == ("private, no-cache" if "ETag" in headers else "no-store")
    assert ("Retry-After" in headers) == (status == 503)
    assert body.isascii()
    if status == 304:
        assert body == ""
        return
    response = json.loads(body)
    if status == 200:
        assert "affected_query_parameter" not in response
        return
    assert status in (400, 401, 404, 405, 415, 500, 503)
    assert set(response) - {"affected_query_parameter"} == {"message"}
    assert not INSIDE.search(response["message"])
    if status == 500:
        said = f"Something went wrong on our side. The request id is {REQUEST_ID}."
        assert response["message"] == said


class Instance(NamedTuple):
    """A Lambda instance at work on one invocation."""

    process: BaseProcess
    responses: Connection

    def response(self) -> Response:
        """Wait for its response."""
        assert self.responses.poll(SECONDS + 1)
        response: Response = self.responses.recv()
        return response

    def has_responded(self) -> bool:
        return self.responses.poll()

    def kill(self) -> None:
        """End it, wherever it is, with SIGKILL."""
        self.process.kill()
        self.process.join()


@contextmanager
def lambda_instance(environ: dict[str, str], invocation: Invocation) -> Iterator[Instance]:
    """A new process that has exactly this environment and handles this one invocation."""
    responses, sender = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_serve, args=(environ, invocation, sender))
    process.start()
    sender.close()
    try:
        yield Instance(process, responses)
    finally:
        process.kill()
        process.join()
        responses.close()


def _serve(environ: dict[str, str], invocation: Invocation, responses: Connection) -> None:
    os.environ.clear()
    os.environ.update(environ)
    responses.send(invoke(importlib.import_module("app").app, invocation))
