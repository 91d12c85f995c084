"""One request by one verified caller: claims and query parameters in, typed values out."""

import re
from typing import Any

from chalice.app import Request

from chalicelib.cursors import decode_cursor, encode_cursor
from chalicelib.errors import BadParameter, Unauthorized

_USER_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
# Each parameter's pattern, and in words what it must be.
_VALID = {
    "job-id: number": (
        re.compile(r"0*([1-9][0-9]{0,14}|10{15})"),
        "a whole number from 1 to 1000000000000000",
    ),
    "object-uuid: string": (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}(\.[A-Za-z0-9]{1,16})?"),
        "1 to 128 letters, digits, _ and -, beginning with a letter or digit, then optionally a "
        "dot and an extension of 1 to 16 letters and digits",
    ),
    "limit: number": (re.compile(r"0*([1-9][0-9]{0,2}|1000)"), "a whole number from 1 to 1000"),
    "cursor: string": (re.compile(r"[A-Za-z0-9_-]+"), "one that this request answered with"),
    "download-as: string": (
        # A control character could begin a header of its own, and a lone surrogate has no UTF-8.
        re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff/\\]{1,255}"),
        "a file name of 1 to 255 characters, without control characters, / and \\",
    ),
}


class Call:
    """One request. Each method that reads a parameter raises BadParameter where it is not valid.

    user_id comes from the verified claims alone: Unauthorized is raised where they are not those
    of an ID token. `log` is what the log line will say beside the status.
    """

    def __init__(self, request: Request, cursor_secret: str) -> None:
        self.log: dict[str, Any] = request.context.setdefault("log", {})
        self.user_id = self.log["user_id"] = _user_id(request.context)
        query = request.query_params
        self._query = {name: query.getlist(name) for name in query} if query else {}
        self._headers = request.headers
        self._lambda_context: Any = request.lambda_context
        self._cursor_secret = cursor_secret

    def job_id(self) -> int:
        """The job that the request is about, 1 to 10^15."""
        digits = self._value("job-id: number", "job_id", needed=True)
        self.log["job_id"] = job_id = int(digits.lstrip("0"))
        return job_id

    def object_uuid(self) -> str:
        """The object's name in S3, `<uuid>.<ext>`."""
        return self._value("object-uuid: string", "object_uuid", needed=True)

    def limit(self) -> int | None:
        """The most jobs to answer, 1 to 1000; None for all."""
        digits = self._value("limit: number")
        return int(digits.lstrip("0")) if digits else None

    def download_as(self) -> str | None:
        """The file name to save the object under, 1 to 255 characters; None to show it."""
        return self._value("download-as: string") or None

    def position(self, *request: str) -> list[str] | None:
        """Where the answer goes on from, by the cursor that this request gave; None: the start."""
        cursor = self._value("cursor: string")
        if not cursor:
            return None
        return decode_cursor(cursor, self._cursor_secret, self.user_id, *request)

    def next_cursor(self, position: list[str], *request: str) -> str:
        """The JSON member that leads on to a position of this request; "" where nothing follows."""
        if not position:
            return ""
        cursor = encode_cursor(position, self._cursor_secret, self.user_id, *request)
        return f',"next_cursor":"{cursor}"'

    def has(self, etag: str) -> bool:
        """Whether If-None-Match names the tag, compared weakly (RFC 9110, section 13.1.2)."""
        tags = self._headers.get("if-none-match", "").split(",")
        return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags)

    def seconds_left(self) -> float:
        """The seconds that Lambda still gives to this request."""
        return float(self._lambda_context.get_remaining_time_in_millis()) / 1000

    def _value(self, parameter: str, other_spelling: str = "", needed: bool = False) -> str:
        """A valid value, or an empty string where the parameter may be absent, and is."""
        name = parameter.partition(":")[0]
        values = [*self._query.get(name, ()), *self._query.get(other_spelling, ())]
        if len(values) > 1:
            raise BadParameter(f"The {name} query parameter must be given once", parameter)
        if needed and not "".join(values).strip():
            raise BadParameter(f"The {name} query parameter is missing", parameter)
        pattern, expected = _VALID[parameter]
        if values and not pattern.fullmatch(values[0]):
            raise BadParameter(f"{name} must be {expected}", parameter)
        return values[0] if values else ""


def _user_id(context: dict[str, Any]) -> str:
    """The claim `sub` of an ID token."""
    match context:
        case {"authorizer": {"claims": {"token_use": "id", "sub": str(user_id)}}}:
            if _USER_ID.fullmatch(user_id):
                return user_id
    raise Unauthorized("Unauthorized")
