"""Opaque cursors: where an answer ended, bound to the caller and the request that it was for."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from chalicelib.errors import BadParameter

_TAG_BYTES = 16


def encode_cursor(position: list[str], secret: str, *bound_to: str) -> str:
    """A cursor for a position: the last row's sort keys, or the last result's name.

    secret and bound_to (the caller, the route, the job) go into its tag, not into the cursor. What
    the tag stops is mistakes; one's own position is not worth forging, as it only ever leads
    through one's own data.
    """
    payload = json.dumps(position, separators=(",", ":")).encode()
    message = json.dumps([position, bound_to]).encode()
    tag = hmac.digest(secret.encode(), message, "sha256")[:_TAG_BYTES]
    return urlsafe_b64encode(tag + payload).decode().rstrip("=")


def decode_cursor(cursor: str, secret: str, *bound_to: str) -> list[str]:
    """The position in a cursor. Raises BadParameter for any that was not given for just this."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position: list[str] = json.loads(urlsafe_b64decode(padded.encode("ascii"))[_TAG_BYTES:])
        # Encoding again checks the tag, and refuses every other spelling of the same bytes.
        if not hmac.compare_digest(encode_cursor(position, secret, *bound_to), cursor):
            raise ValueError
    except (ValueError, TypeError, RecursionError) as error:
        raise BadParameter(
            "cursor must be one that this request answered with", "cursor: string"
        ) from error
    return position
