"""Patches of `chalice local`'s server, so that it behaves as the deployed API does.

Chalice has no hooks for this. Its own server verifies no token.
"""

import json
import os
import re
import sys
import uuid
import warnings
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import jwt
from chalice import local
from chalice.app import CognitoUserPoolAuthorizer

from chalicelib.errors import ConfigError

Handler = local.ChaliceRequestHandler

# As many digits as API Gateway's limit of 10 MB has, or fewer.
_LENGTH = r"[0-9]{1,8}"
_CHUNK_SIZE = rb"([0-9A-Fa-f]{1,6})[ \t]*(;.*)?\r\n"
_authorize = local.LocalGatewayAuthorizer.authorize
_handle = Handler.handle
_parse_request = Handler.parse_request
_send = Handler._send_http_response
_keys: dict[str, jwt.PyJWKClient] = {}


def patch(lines: list[str]) -> None:
    """Apply the patches. The server prints the lines when it accepts connections."""

    def serve_forever(self: local.LocalDevServer) -> None:
        """Print the lines instead of Chalice's own."""
        print("\n".join(lines), flush=True)
        self.server.serve_forever()

    # It says that no token is verified, which is no longer true.
    warnings.filterwarnings("ignore", message="CognitoUserPoolAuthorizer")
    for owner, method in (
        (local.LocalDevServer, serve_forever),
        (local.LocalGatewayAuthorizer, authorize),
        (Handler, handle),
        (Handler, parse_request),
        (Handler, _send_http_response),
        (Handler, send_error),
        (Handler, log_request),
    ):
        setattr(owner, method.__name__, method)


def authorize(
    self: local.LocalGatewayAuthorizer, path: str, event: dict[str, Any], context: Any
) -> Any:
    """Respond with 401 to a request without a token that the user pool has signed."""
    route = self._route_for_event(event)
    if route is not None and isinstance(route.authorizer, CognitoUserPoolAuthorizer):
        token = event["headers"].get("authorization", "").removeprefix("Bearer ")
        try:
            verify(token)
        except ConfigError as error:
            print(error, file=sys.stderr)
            body = json.dumps({"message": str(error)}).encode()
            raise local.InvalidAuthorizerError({}, body) from error
        except (jwt.PyJWTError, ValueError) as error:
            raise local.NotAuthorizedError({}, b'{"message": "Unauthorized"}') from error
        event["headers"]["authorization"] = token
    return _authorize(self, path, event, context)


def verify(token: str) -> None:
    """Check the token's signature and expiry with the user pool's keys.

    Raises jwt.PyJWTError or ValueError if the token is bad, ConfigError if there are no such keys.
    """
    jwt.get_unverified_header(token)
    _, _, _, region, _, pool = os.environ["USER_POOL_ARN"].split(":")
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or f"https://cognito-idp.{region}.amazonaws.com"
    url = f"{endpoint.rstrip('/')}/{pool.rpartition('/')[2]}/.well-known/jwks.json"
    keys = _keys.setdefault(url, jwt.PyJWKClient(url, timeout=5))
    try:
        keys.get_signing_keys()
    except (jwt.PyJWTError, ValueError, OSError) as error:
        reason = error.__cause__ or error
        raise ConfigError(
            f"The user pool's keys cannot be read from {url}: {reason}. They are at the endpoint "
            "in AWS_ENDPOINT_URL, or at Cognito's in the region of USER_POOL_ARN."
        ) from error
    key = keys.get_signing_key_from_jwt(token)
    jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False})


def handle(self: Handler) -> None:
    """Log no traceback for a client that closes the connection before it has the response."""
    with suppress(ConnectionError):
        _handle(self)


def parse_request(self: Handler) -> bool:
    """Refuse a bad Content-Length, which Chalice raises on, and read a chunked body."""
    if not _parse_request(self):
        return False
    lengths = set(self.headers.get_all("Content-Length", []))
    try:
        if len(lengths) > 1 or not all(re.fullmatch(_LENGTH, n) for n in lengths):
            raise ValueError
        if "Transfer-Encoding" in self.headers:
            if lengths or self.headers["Transfer-Encoding"].lower() != "chunked":
                raise ValueError
            skip_chunks(self.rfile)
    except ValueError:
        self.send_error(HTTPStatus.BAD_REQUEST)
        return False
    return True


def skip_chunks(stream: Any) -> None:
    """Read a chunked body to its end; no route has a use for one. Raises ValueError."""
    while size := chunk_size(stream.readline(100)):
        if stream.read(size + 2)[size:] != b"\r\n":
            raise ValueError
    while stream.readline(65536).strip():
        pass  # trailers


def chunk_size(line: bytes) -> int:
    """The size that a chunk begins with. Raises ValueError."""
    match = re.fullmatch(_CHUNK_SIZE, line)
    if not match:
        raise ValueError
    return int(match[1], 16)


def _send_http_response(self: Handler, code: int, headers: dict[str, Any], body: Any) -> None:
    """Add the headers of the deployed API where Chalice responds itself; HEAD gets no body."""
    app: Any = self.local_gateway._app_object
    headers = {
        **app.api.cors.get_access_control_headers(),
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": str(uuid.uuid4()),
        **headers,
    }
    if self.command == "HEAD" and body:
        length = len(body if isinstance(body, bytes) else body.encode())
        self.send_response(code)
        self._send_headers({**headers, "Content-Length": str(length)})
    else:
        _send(self, code, headers, body)


def send_error(self: Handler, code: int, *_: Any) -> None:
    """Respond to an invalid request or an unknown method as to any other: in JSON."""
    body = json.dumps({"message": HTTPStatus(code).phrase})
    _send_http_response(self, code, {"Connection": "close"}, body)


def log_request(self: Handler, code: Any = "-", *_: Any) -> None:
    """Log the request without its query, which may hold a file's name."""
    self.log_message("%s", f"{self.command} {getattr(self, 'path', '').partition('?')[0]} {code}")
