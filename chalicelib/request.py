"""The request: verified claims and query parameters in, typed values out."""

import re
from posixpath import splitext
from typing import Any

from chalice.app import Request

from chalicelib.errors import ApiError

# C0 and C1 control characters, and lone surrogates, which have no UTF-8.
_NOT_PRINTABLE = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
# Compiled here, as re.fullmatch takes longer to find a pattern again than to match it.
_OBJECT_NAME = re.compile(rf"[^/\\{_NOT_PRINTABLE}]{{1,255}}")
_USER_ID = re.compile("[A-Za-z0-9_:-]{1,128}")
# Not more, since int() raises ValueError above 4,300 digits.
_DIGITS = re.compile("[0-9]{1,16}")


class JobsRequest:
    """One request of one authenticated user.

    user_id comes from the verified claims only. Each method reads one parameter and raises
    ApiError (400) if its value is not valid. The members of `log` go into the log line.
    """

    def __init__(self, request: Request) -> None:
        self.log: dict[str, Any] = request.context.setdefault("log", {})
        self.user_id = self.log["user_id"] = _user_id(request.context)
        query = request.query_params
        self._query = {name: query.getlist(name) for name in query} if query else {}
        self._headers = request.headers
        self._lambda_context: Any = request.lambda_context

    def job_id(self) -> int:
        """The job's id, 1 to 2^53 - 1: the largest whole number that JavaScript holds exactly."""
        parameter = "job-id: number"
        job_id = _whole_number(parameter, self._required(parameter, "job_id"), maximum=2**53 - 1)
        self.log["job_id"] = job_id
        return job_id

    def object_uuid(self) -> str:
        """The object's name below the job's prefix, usually `<uuid>.<ext>`; never a path."""
        parameter = "object-uuid: string"
        name = self._required(parameter, "object_uuid")
        if name in (".", "..") or not _OBJECT_NAME.fullmatch(name):
            expected = (
                "the name of an object: 1 to 255 characters, without control characters, / and \\, "
                "and not . or .."
            )
            raise _not_valid(parameter, expected)
        return name

    def limit(self) -> int | None:
        """The maximum number of jobs to return, 1 to 1000; None for all."""
        parameter = "limit: number"
        digits = self._optional(parameter)
        return None if digits is None else _whole_number(parameter, digits, maximum=1000)

    def cursor(self) -> str | None:
        """The cursor as it was sent; paging.decode_cursor verifies it. None for the first page."""
        return self._optional("cursor: string")

    def download_as(self) -> str | None:
        """The file name to save the object under; None to show it.

        Any stored file name is valid. Slashes, backslashes and control characters are replaced by
        `_`, and a name of more than 240 bytes in UTF-8 is cut before its extension.
        """
        parameter = "download-as: string"
        name = self._optional(parameter)
        if name is None:
            return None
        if not name.strip() or len(name) > 1024:
            raise _not_valid(parameter, "a file name of 1 to 1024 characters that is not blank")
        return _cut(re.sub(rf"[/\\{_NOT_PRINTABLE}]", "_", name), max_bytes=240)

    def include_object_urls(self) -> bool:
        """Whether to include the URL of each object."""
        parameter = "include: string"
        include = self._optional(parameter)
        if include not in (None, "object-urls"):
            raise _not_valid(parameter, "object-urls")
        return include is not None

    def matches(self, etag: str) -> bool:
        """Whether If-None-Match has the tag, by weak comparison (RFC 9110, section 13.1.2)."""
        tags = self._headers.get("if-none-match", "").split(",")
        return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags)

    def seconds_left(self) -> float:
        """The seconds until Lambda ends this request."""
        return float(self._lambda_context.get_remaining_time_in_millis()) / 1000

    def _required(self, parameter: str, alias: str) -> str:
        value = self._optional(parameter, alias)
        if value is None or not value.strip():
            raise ApiError(400, f"The {_name(parameter)} query parameter is missing", parameter)
        return value

    def _optional(self, parameter: str, *aliases: str) -> str | None:
        """The parameter's value, which may be blank; None if the parameter is absent."""
        name = _name(parameter)
        values = [value for key in (name, *aliases) for value in self._query.get(key, ())]
        if len(values) > 1:
            raise ApiError(400, f"The {name} query parameter must be given once", parameter)
        return values[0] if values else None


def _name(parameter: str) -> str:
    return parameter.partition(":")[0]


def _not_valid(parameter: str, expected: str) -> ApiError:
    return ApiError(400, f"{_name(parameter)} must be {expected}", parameter)


def _whole_number(parameter: str, text: str, maximum: int) -> int:
    """Parse ASCII digits as a number from 1 to maximum. Raises ApiError (400)."""
    digits = text.lstrip("0")
    if not _DIGITS.fullmatch(digits) or int(digits) > maximum:
        raise _not_valid(parameter, f"a whole number from 1 to {maximum}")
    return int(digits)


def _cut(file_name: str, max_bytes: int) -> str:
    """The file name, cut before its extension and between characters to max_bytes in UTF-8."""
    if len(file_name.encode()) <= max_bytes:
        return file_name
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
