"""Responses: JSON bodies, errors, ETags."""

import hashlib
import json
import traceback
from collections.abc import Callable
from itertools import chain
from typing import Any

from chalice.app import Request, Response

from chalicelib.errors import ApiError

RETRY_AFTER_SECONDS = 5

# A value to compact JSON, all ASCII. json.dumps with separators makes a new encoder in each call.
encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":")).encode


def json_array(name: str, values: list[str]) -> list[str]:
    """A member that is an array, for `json_body`; its values are already encoded."""
    return _in_brackets(f'"{name}":[', values, "]")


def json_object(name: str, members: list[str]) -> list[str]:
    """A member that is an object, for `json_body`; its members are already encoded."""
    return _in_brackets(f'"{name}":{{', members, "}")


def json_body(*members: list[str], **values: Any) -> str:
    """A JSON object: members that are already encoded, then values, without those that are None."""
    encoded = [f'"{name}":{encode(value)}' for name, value in values.items() if value is not None]
    return ",".join(_in_brackets("{", [*chain(*members), *encoded], "}"))


def ok(body: str, etag: str | None = None) -> Response:
    """A 200 with this body."""
    return Response(body, _caching(etag))


def not_modified(etag: str) -> Response:
    """A 304: what the caller has is still current."""
    return Response("", _caching(etag), 304)


def error_response(error: Exception, request: Request) -> Response:
    """The response to an exception; the cause of a 5xx is added to the log line."""
    if isinstance(error, ApiError):
        status, message, parameter = error.status, str(error), error.parameter
    else:
        id_ = request_id(request.lambda_context)
        message = f"Something went wrong on our side. The request id is {id_}."
        status, parameter = 500, ""
    body = {"message": message}
    if parameter:
        body["affected_query_parameter"] = parameter
    if status >= 500:
        request.context["log"]["cause"] = "".join(traceback.format_exception(error))
    response = Response(encode(body), status_code=status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def etag(*parts: object) -> str:
    """A strong ETag of everything that a response depends on."""
    text = "\0".join(map(str, parts))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def request_id(lambda_context: Any) -> str:
    """Lambda's id of the request, which its log line has."""
    return str(getattr(lambda_context, "aws_request_id", ""))


def _in_brackets(opening: str, texts: list[str], closing: str) -> list[str]:
    """The texts, to be joined by commas, with brackets around all of them.

    A body of several MB is then joined once: each copy of it takes as long as 200 URLs.
    """
    texts = [*texts] or [""]
    texts[0] = opening + texts[0]
    texts[-1] += closing
    return texts


def _caching(etag: str | None) -> dict[str, str | list[str]]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"} if etag else {}
