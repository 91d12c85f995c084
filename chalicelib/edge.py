"""HTTP on the way out: answers, errors, the headers of every answer, one log line a request."""

import hashlib
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

from chalice.app import Chalice, ChaliceUnhandledError, CORSConfig, Request, Response

from chalicelib.call import Call
from chalicelib.errors import ApiError, BadParameter, JobNotFound, Unauthorized, Unavailable

# Lambda's answer may take 6,291,556 bytes ("Lambda quotas"), of which a body gets 6,000,000 here,
# and of these 8,000 are for what is around its rows, the cursor above all.
ROOM_BYTES = 6_000_000 - 8_000
RETRY_AFTER_SECONDS = 5

T = TypeVar("T")
Headers = dict[str, str | list[str]]
LOG = logging.getLogger("jobs_api")

_STATUS = {Unauthorized: 401, BadParameter: 400, JobNotFound: 404, Unavailable: 503}
# What an exception's text may hold and a log must not: the query of a URL, an e-mail address.
# Bounded, so that a long text is searched in a time in proportion to it.
_SECRET = re.compile(r"\?[^\s\"'<>=]{1,128}=[^\s\"'<>]+|[^\s\"'<>=:(]{1,64}@[^\s\"'<>=:),]+")


def handles(
    app: Chalice, cursor_secret: str, view: Callable[[Call], Response]
) -> Callable[[], Response]:
    """Below @app.route: the view gets a Call, and its errors get to answer_all."""

    @wraps(view)
    def handle() -> Response:
        try:
            return view(Call(cast(Request, app.current_request), cursor_secret))
        except Exception as error:
            # The one class that Chalice lets through to a middleware.
            raise ChaliceUnhandledError from error

    return handle


def answer_all(cors: CORSConfig) -> Callable[[Request, Callable[[Request], Response]], Response]:
    """The one middleware: errors to answers, headers on every answer, one log line a request."""
    headers = {
        **cors.get_access_control_headers(),
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
    }

    def middleware(request: Request, get_response: Callable[[Request], Response]) -> Response:
        started = time.perf_counter()
        error = None
        try:
            response = get_response(request)
        except Exception as raised:
            error = raised.__cause__ or raised
            response = _failure(error, request)
        if isinstance(response.body, dict):
            # Chalice's own refusals, 405 and 415.
            response.body = json.dumps({"message": response.body["Message"]})
        response.headers = {**headers, **response.headers}
        _log(request, response.status_code, time.perf_counter() - started, error)
        return response

    return middleware


def answer(body: str, etag: str = "", status: int = 200) -> Response:
    """A JSON text, which the client may keep and ask about where it has an ETag."""
    headers: Headers = {"ETag": etag, "Cache-Control": "private, no-cache"} if etag else {}
    return Response(body, headers, status)


def etag(*parts: str) -> str:
    """A strong ETag of all that an answer depends on."""
    return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


def page(
    items: Iterable[T], json_text: Callable[[T], str], limit: int | None = None, beside: str = ""
) -> tuple[list[str], list[T]]:
    """The items' JSON texts, as many as fit the body, up to limit; the last one, if more follow.

    The first is taken even where it does not fit, so that paging ends.
    """
    left = ROOM_BYTES - _escaped_bytes(beside)
    texts: list[str] = []
    last: list[T] = []
    for item in items:
        text = json_text(item)
        left -= _escaped_bytes(text) + 1
        if len(texts) == limit or (texts and left < 0):
            return texts, last
        texts.append(text)
        last = [item]
    return texts, []


def configure_log(level: str) -> None:
    """Write the log lines to stdout as they are, from `level` up, past any other handler."""
    LOG.setLevel(level)
    LOG.propagate = False
    if not LOG.handlers:
        LOG.addHandler(logging.StreamHandler(sys.stdout))


def without_secrets(text: str) -> str:
    """The text of an error without what a log must not hold, credentials first of all."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        # A line break behind it is what makes an error quote it.
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "<removed>")
    return _SECRET.sub("<removed>", text)


def _escaped_bytes(text: str) -> int:
    # Lambda hands the body on escaped, as a string in a JSON of its own. It is all ASCII.
    return len(text) + text.count('"') + text.count("\\")


def _failure(error: BaseException, request: Request) -> Response:
    if not isinstance(error, ApiError):
        message = f"Something went wrong on our side. The request id is {_request_id(request)}."
        return Response(json.dumps({"message": message}), status_code=500)
    body = {"message": str(error)}
    if error.parameter:
        body["affected_query_parameter"] = error.parameter
    status = _STATUS[type(error)]
    headers: Headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    return Response(json.dumps(body), headers, status)


def _log(request: Request, status: int, seconds: float, error: BaseException | None) -> None:
    line: dict[str, Any] = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "level": "INFO" if status < 500 else "ERROR",
        "route": f"{request.method} {request.path}",
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        "request_id": _request_id(request),
        **request.context.get("log", {}),
    }
    if error and status >= 500:
        line["cause"] = without_secrets("".join(traceback.format_exception(error)))
    (LOG.info if status < 500 else LOG.error)(json.dumps(line))


def _request_id(request: Request) -> str:
    return str(getattr(request.lambda_context, "aws_request_id", ""))
