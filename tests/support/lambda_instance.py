"""What a caller of the Lambda sees: an invocation, its response, the time that runs down.

`lambda_instance` invokes in a process of its own, as Lambda does, that a test can kill.
"""

import importlib
import multiprocessing
import os
import re
from copy import deepcopy
from multiprocessing.process import BaseProcess
from typing import Any

from tests.support import openapi
from tests.support.events import REQUEST_ID, SECONDS, Context, Response

SOAK = bool(os.environ.get("SOAK"))
# Amounts that take a minute, also in CI.
FULL = SOAK or "CI" in os.environ
# What no error may name: the table, the bucket, a library, the code, AWS's own words.
INSIDE = re.compile(
    r"job-requests|job-files|boto|urllib|chalice|dynamo|amazon|\bS3\b|Traceback|\.py\b"
    r"|Exception|Error\b|SlowDown|127\.0\.0\.1",
    re.IGNORECASE,
)

# What each response of the app has, besides what openapi.yaml says.
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization,Content-Type,If-None-Match,X-Amz-Date,"
    "X-Amz-Security-Token,X-Api-Key",
    "Access-Control-Expose-Headers": "ETag,Retry-After,X-Request-Id",
    "Access-Control-Max-Age": "600",
    "Vary": "Authorization",
    "X-Content-Type-Options": "nosniff",
    "X-Request-Id": REQUEST_ID,
}
# Each instance is a fork of one process that has made these imports, in the environment of the
# first instance: it starts at once.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.support.lambda_instance", "app"])


def handle(app: Any, event: dict[str, Any], seconds: float = SECONDS) -> Response:
    """The handler's response to a request, which is of the contract, and within its time."""
    context = Context(seconds)
    # Each event comes once: the app keeps its log in it.
    response = app(deepcopy(event), context)
    assert context.seconds_left() > 0
    assert response["multiValueHeaders"] == {}
    got = Response(response["statusCode"], response["headers"], response["body"])
    assert got.headers.items() >= HEADERS.items()
    where = event["requestContext"]
    check_response(where["httpMethod"], where["resourcePath"], got)
    return got


def check_response(method: str, path: str, response: Response) -> None:
    """What the contract says of every response, API Gateway's own too."""
    status, headers, body = response
    openapi.check(method, path, status, headers, body.encode())
    for name, value in headers.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[ -~]*", value)
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == ("private, no-cache" if "ETag" in headers else "no-store")
    assert ("Retry-After" in headers) == (status == 503)
    assert body.isascii()
    if status not in (200, 304):
        assert set(response.json) - {"affected_query_parameter"} == {"message"}
        assert not INSIDE.search(response.json["message"])


def lambda_instance(event: dict[str, Any]) -> BaseProcess:
    """A new process that handles this one event; its exit code is 0 where that went well."""
    process = _processes.Process(target=_serve, args=(event,), daemon=True)
    process.start()
    return process


def _serve(event: dict[str, Any]) -> None:
    handle(importlib.import_module("app").app, event)
