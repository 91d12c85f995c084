"""The request: verified claims and query parameters in, typed values out."""

import re
from posixpath import splitext
from typing import Any, NamedTuple

from chalice.app import Request

from chalicelib.errors import ApiError

# C0 and C1 control characters, and lone surrogates, which have no UTF-8.
_NOT_PRINTABLE = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_USER_ID = re.compile("[A-Za-z0-9_:-]{1,128}")
# Not more digits, since int() raises ValueError above 4,300.
_NUMBER = re.compile("0*[1-9][0-9]{0,15}")


class Parameter(NamedTuple):
    """A query parameter: its type, its routes (below /jobs/), and what its value must be."""

    type: str
    routes: tuple[str, ...]
    rule: re.Pattern[str] = _NUMBER
    expected: str = "a whole number from 1 to {maximum}"
    maximum: int = 0
    required: bool = False


PARAMETERS = {
    # Up to the largest whole number that JavaScript holds exactly.
    "job-id": Parameter(
        "number", ("get", "get-object-url", "delete"), maximum=2**53 - 1, required=True
    ),
    # Usually `<uuid>.<ext>`, never a path.
    "object-uuid": Parameter(
        "string",
        ("get-object-url",),
        re.compile(rf"(?!\.{{1,2}}\Z)[^/\\{_NOT_PRINTABLE}]{{1,255}}"),
        "the name of an object: 1 to 255 characters, without control characters, / and \\, and not "
        ". or ..",
        required=True,
    ),
    "limit": Parameter("number", ("list",), maximum=1000),
    "cursor": Parameter(
        "string",
        ("list", "get"),
        re.compile("[A-Za-z0-9_-]+"),
        "the next_cursor of a response to the same request",
    ),
    "download-as": Parameter(
        "string",
        ("get-object-url",),
        re.compile(r"(?s)(?=.*\S).{1,1024}"),
        "a file name of 1 to 1024 characters that is not blank",
    ),
    "include": Parameter("string", ("get",), re.compile("object-urls"), "object-urls"),
}


class JobsRequest:
    """One request of one authenticated user; the members of `log` go into the log line."""

    def __init__(self, request: Request) -> None:
        self.log: dict[str, Any] = request.context.setdefault("log", {})
        self.user_id = self.log["user_id"] = _user_id(request.context)
        query = request.query_params
        self._query = {name: query.getlist(name) for name in query} if query else {}
        self._headers = request.headers
        self._lambda_context: Any = request.lambda_context

    def job_id(self) -> int:
        """The job's id, for the log line too."""
        job_id = self.log["job_id"] = self.number("job-id")
        return job_id

    def download_as(self) -> str | None:
        """The file name to save the object under; None to show it.

        Any stored file name is valid. Slashes, backslashes and control characters are replaced by
        `_`, and a name of more than 240 bytes in UTF-8 is cut before its extension.
        """
        name = self.text("download-as")
        return _cut(re.sub(rf"[/\\{_NOT_PRINTABLE}]", "_", name), max_bytes=240) if name else None

    def number(self, name: str) -> int:
        """The parameter's value; 0 if it is absent. Raises ApiError (400)."""
        number = int(self.text(name).lstrip("0") or 0)
        if number > PARAMETERS[name].maximum:
            raise parameter_error(name)
        return number

    def text(self, name: str) -> str:
        """The parameter's value; an empty string if it is absent. Raises ApiError (400)."""
        parameter = PARAMETERS[name]
        # A required parameter can be spelt with _ too.
        names = {name, name.replace("-", "_")} if parameter.required else {name}
        values = [value for key in names for value in self._query.get(key, ())]
        if len(values) > 1:
            raise parameter_error(name, f"The {name} query parameter must be given once")
        if parameter.required and not "".join(values).strip():
            raise parameter_error(name, f"The {name} query parameter is missing")
        if values and not parameter.rule.fullmatch(values[0]):
            raise parameter_error(name)
        return values[0] if values else ""

    def matches(self, etag: str) -> bool:
        """Whether If-None-Match has the tag, by weak comparison (RFC 9110, section 13.1.2)."""
        tags = self._headers.get("if-none-match", "").split(",")
        return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags)

    def seconds_left(self) -> float:
        """The seconds until Lambda ends this request."""
        return float(self._lambda_context.get_remaining_time_in_millis()) / 1000


def parameter_error(name: str, message: str = "", status: int = 400) -> ApiError:
    """An error that is about a parameter: that it is not valid, if there is no message."""
    parameter = PARAMETERS[name]
    message = message or f"{name} must be {parameter.expected.format(maximum=parameter.maximum)}"
    return ApiError(status, message, f"{name}: {parameter.type}")


def _cut(file_name: str, max_bytes: int) -> str:
    """The file name, cut before its extension and between characters to max_bytes in UTF-8."""
    stem, extension = splitext(file_name)
    if len(extension.encode()) > max_bytes // 2:
        # What follows the last dot is not an extension.
        stem, extension = file_name, ""
    room = max_bytes - len(extension.encode())
    return stem.encode()[:room].decode(errors="ignore") + extension


def _user_id(context: dict[str, Any]) -> str:
    """The claim `sub` of an ID token. Raises ApiError (401) for any other claims."""
    match context:
        case {"authorizer": {"claims": {"token_use": "id", "sub": str(user_id)}}}:
            if _USER_ID.fullmatch(user_id):
                return user_id
    raise ApiError(401, "Unauthorized")
