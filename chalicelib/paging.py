"""Paging: how many rows fit one response, and cursors, which say where the next page starts.

A position is where a list continues: the sort keys of the last job, or the last object's name.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import TypeVar

from chalicelib.request import parameter_error

# Lambda's response may be 6,291,556 bytes ("Lambda quotas"). A body gets 6,000,000 of them, and
# 8,000 of these are for what surrounds the rows, mainly the cursor.
MAX_BYTES_OF_ROWS = 6_000_000 - 8_000
_TAG_BYTES = 16

T = TypeVar("T")
Row = TypeVar("Row")


def escaped_bytes(text: str) -> int:
    """The size of an ASCII text inside a JSON string, which is how Lambda returns a body."""
    # To search for a character is much faster than to count it.
    return len(text) + text.count('"') + (text.count("\\") if "\\" in text else 0)


def fill_page(
    items: Iterable[T],
    encode: Callable[[T], Row],
    size: Callable[[Row], int],
    position: Callable[[T], list[str]],
    limit: int | None = None,
    reserved: int = 0,
) -> tuple[list[Row], list[str] | None]:
    """The encoded items that fit one response, and the position if more follow.

    At most `limit` items are taken, and at least one, so that paging always ends. reserved: the
    bytes that the rest of the body takes.
    """
    left = MAX_BYTES_OF_ROWS - reserved
    rows: list[Row] = []
    last: T | None = None
    for item in items:
        row = encode(item)
        left -= size(row) + 1  # the comma
        if last is not None and (left < 0 or len(rows) == limit):
            return rows, position(last)
        rows.append(row)
        last = item
    return rows, None


def encode_cursor(position: list[str], *scope: str) -> str:
    """An opaque cursor for a position, valid for this scope only.

    The scope (deployment, user, route, job) is what the cursor's tag is computed from; it is not
    in the cursor. The tag catches mistakes and is not a security measure: the user id comes from
    the claims, so a forged cursor only leads through the caller's own jobs.
    """
    payload = json.dumps(position, separators=(",", ":")).encode()
    return urlsafe_b64encode(_tag(payload, scope) + payload).decode().rstrip("=")


def decode_cursor(
    cursor: str, is_position: Callable[[list[str]], bool], *scope: str
) -> list[str] | None:
    """The position in a cursor; None for an empty text.

    Raises ApiError (400) for a cursor that was not issued for exactly this scope.
    """
    if not cursor:
        return None
    try:
        decoded = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        tag, payload = decoded[:_TAG_BYTES], decoded[_TAG_BYTES:]
        # b64decode ignores characters outside its alphabet: accept only the canonical form.
        is_canonical = urlsafe_b64encode(decoded).decode().rstrip("=") == cursor
        if is_canonical and hmac.compare_digest(tag, _tag(payload, scope)):
            # A forged cursor can have a correct tag, and anything in it.
            match json.loads(payload):
                case [*texts] if all(isinstance(text, str) for text in texts):
                    if is_position(texts):
                        return texts
    except (ValueError, RecursionError):
        pass
    raise parameter_error("cursor")


def _tag(payload: bytes, scope: tuple[str, ...]) -> bytes:
    return hmac.digest(json.dumps(scope).encode(), payload, "sha256")[:_TAG_BYTES]
