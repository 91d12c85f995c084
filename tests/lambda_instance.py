"""What a caller of the Lambda sees: an invocation, its response, the time that runs down.

`lambda_instance` invokes in a process of its own, as Lambda does, that a test can hold or kill.
"""

import importlib
import json
import multiprocessing
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from tests.conftest import Response, id_token_claims

SOAK = bool(os.environ.get("SOAK"))
# Amounts that take a minute, also in CI.
FULL = SOAK or "CI" in os.environ
SECONDS = 29
REQUEST_ID = "5b6e0a1c-request-id"
ROUTES = {
    "/jobs/list": "GET",
    "/jobs/get": "GET",
    "/jobs/get-object-url": "GET",
    "/jobs/delete": "DELETE",
}
# What no error may name: the table, the bucket, a library, the code, AWS's own words.
INSIDE = re.compile(
    r"job-requests|job-files|boto|urllib|chalice|dynamo|amazon|\bS3\b|Traceback|\.py\b"
    r"|Exception|Error\b|SlowDown|127\.0\.0\.1",
    re.IGNORECASE,
)

# Each instance is a fork of one process that has made these imports: it starts at once.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.lambda_instance", "botocore.session"])


class RunningDown:
    """Lambda's context, whose remaining time runs down."""

    aws_request_id = REQUEST_ID

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> float:
        return self.seconds_left() * 1000

    def seconds_left(self) -> float:
        return self._end - time.monotonic()


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
        context: dict[str, Any] = {
            "httpMethod": self.method or ROUTES[self.path],
            "resourcePath": self.path,
        }
        claims = id_token_claims(self.user) if self.user else self.claims
        if claims is not None:
            context["authorizer"] = {"claims": claims}
        query = {k: v if isinstance(v, list) else [str(v)] for k, v in self.query.items()}
        return {
            "requestContext": context,
            "multiValueQueryStringParameters": query or None,
            "headers": self.headers,
            "pathParameters": None,
            "stageVariables": None,
            "body": None,
        }


def invoke(app: Any, invocation: Invocation, seconds: float = SECONDS) -> Response:
    """The handler's response, of the contract (see check_response), and within its time."""
    context = RunningDown(seconds)
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
