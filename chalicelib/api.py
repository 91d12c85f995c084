"""The app: Chalice, with headers and a log line for every response."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

from chalice.app import Chalice, CORSConfig, Request, Response

from chalicelib.response import encode, request_id

LOG = logging.getLogger("jobs_api")

# What an exception's text may hold and a log must not: an object's key, which is the path of a URL
# or of a bucket's ARN, a query, an e-mail address. The repetitions are bounded, so that searching
# takes time in proportion to the text.
_SECRET = re.compile(
    r"(?<=://|:::)([^\s\"'<>/?]{1,255}/)[^\s\"'<>]+"
    r"|\?[^\s\"'<>=]{1,128}=[^\s\"'<>]+|[^\s\"'<>=:(]{1,64}@[^\s\"'<>=:),]+"
)


class JobsApi(Chalice):
    """Chalice, with headers and a log line for every response.

    It also responds to events that are not requests of this API, with a 400. Chalice 1.34 raises an
    exception for some of them (create_request_object) and responds with 500 to the others.
    """

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Respond to a Lambda event: a dict with statusCode, headers and body."""
        match event:
            case {
                "requestContext": {"resourcePath": str(path), "httpMethod": str()},
                "multiValueQueryStringParameters": dict() | None,
                "headers": dict() | None,
                "pathParameters": _,
                "stageVariables": _,
                "body": _,
            } if path in self.routes:
                return super().__call__(event, context)
        message = "The event is not a request of this API"
        response = Response(encode({"message": message}), status_code=400)
        self._finish(response, context, {"route": None, "message": message})
        return response.to_dict()

    def add_headers_and_log(
        self, request: Request, get_response: Callable[[Request], Response]
    ) -> Response:
        """A middleware, for Chalice's own responses too."""
        started = time.perf_counter()
        response = get_response(request)
        if isinstance(response.body, dict):
            # Chalice's own 405 and 415 have {"Code": …, "Message": …}.
            response.body = encode({"message": response.body["Message"]})
        log = {
            "route": f"{request.method} {request.path}",
            "milliseconds": round((time.perf_counter() - started) * 1000, 1),
            **request.context.get("log", {}),
        }
        self._finish(response, request.lambda_context, log)
        return response

    @cached_property
    def _common_headers(self) -> dict[str, str]:
        return {
            **cast(CORSConfig, self.api.cors).get_access_control_headers(),
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            # No browser's cache gives a user's response to whoever comes without that user's token.
            "Vary": "Authorization",
            "X-Content-Type-Options": "nosniff",
        }

    def _finish(self, response: Response, lambda_context: Any, log: dict[str, Any]) -> None:
        id_ = request_id(lambda_context)
        response.headers = {**self._common_headers, "X-Request-Id": id_, **response.headers}
        level = logging.ERROR if response.status_code >= 500 else logging.INFO
        if LOG.isEnabledFor(level):
            line = {
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "level": logging.getLevelName(level),
                "status": response.status_code,
                "request_id": id_,
                **log,
            }
            if "cause" in line:
                line["cause"] = without_secrets(line["cause"])
            # Logger.log would search the stack for its caller, which the line does not name.
            LOG.handle(logging.LogRecord(LOG.name, level, __file__, 0, encode(line), (), None))


def configure_log(level: str) -> None:
    """Write the log lines to stdout as they are, from `level` up, bypassing other handlers."""
    LOG.setLevel(level)
    LOG.propagate = False
    if not LOG.handlers:
        LOG.addHandler(logging.StreamHandler(sys.stdout))


def without_secrets(text: str) -> str:
    """The text without what a log must not hold: credentials, URLs' paths, e-mail addresses."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        # With a line break at its end a token is an invalid header value, quoted without it.
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "<removed>")
    return _SECRET.sub(r"\1<removed>", text)
