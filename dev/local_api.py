"""`chalice local`, with tokens verified as API Gateway does; Chalice itself verifies none.

Used as `chalice` is: `python -m dev.local_api local --stage local --port 8000`.
"""

import json
import os
import uuid
import warnings
from http import HTTPStatus
from typing import Any

import jwt
from chalice import local
from chalice.app import CognitoUserPoolAuthorizer
from chalice.cli import main

_authorize = local.LocalGatewayAuthorizer.authorize
_send = local.ChaliceRequestHandler._send_http_response
_keys: dict[str, jwt.PyJWKClient] = {}


def authorize(
    self: local.LocalGatewayAuthorizer, path: str, event: dict[str, Any], context: Any
) -> Any:
    """Let a request pass whose token this pool has signed; answer 401 to any other."""
    route = self._route_for_event(event)
    if route is not None and isinstance(route.authorizer, CognitoUserPoolAuthorizer):
        header = event["headers"].get("authorization", "")
        token = header.removeprefix("Bearer ")
        try:
            verify(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise local.NotAuthorizedError({}, b'{"message": "Unauthorized"}') from error
        event["headers"]["authorization"] = token
    return _authorize(self, path, event, context)


def _send_http_response(
    self: local.ChaliceRequestHandler, code: int, headers: dict[str, Any], body: Any
) -> None:
    """Give what the app does not answer itself the headers that the deployed API gives it."""
    app: Any = self.local_gateway._app_object
    cors = app.api.cors.get_access_control_headers()
    defaults = {
        **cors,
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Request-Id": str(uuid.uuid4()),
    }
    _send(self, code, {**defaults, **headers}, body)


def send_error(self: local.ChaliceRequestHandler, code: int, *_: Any) -> None:
    """Answer what is no request, or has no known method, as anything else: in JSON."""
    body = json.dumps({"message": HTTPStatus(code).phrase})
    _send_http_response(self, code, {"Connection": "close"}, body)


def log_request(self: local.ChaliceRequestHandler, code: Any = "-", *_: Any) -> None:
    """Log the request without its query, which may hold a file's name."""
    self.log_message("%s", f"{self.command} {getattr(self, 'path', '').partition('?')[0]} {code}")


def verify(token: str) -> None:
    """Check the token's signature and expiry by the pool's own keys. Raises jwt.PyJWTError."""
    pool_id = os.environ["USER_POOL_ARN"].rpartition("/")[2]
    url = f"{os.environ['AWS_ENDPOINT_URL']}/{pool_id}/.well-known/jwks.json"
    keys = _keys.setdefault(url, jwt.PyJWKClient(url))
    key = keys.get_signing_key_from_jwt(token)
    jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False})


if __name__ == "__main__":
    # It says that nothing is verified, which is no longer so.
    warnings.filterwarnings("ignore", message="CognitoUserPoolAuthorizer")
    # There are no other hooks.
    for owner, method in (
        (local.LocalGatewayAuthorizer, authorize),
        (local.ChaliceRequestHandler, _send_http_response),
        (local.ChaliceRequestHandler, send_error),
        (local.ChaliceRequestHandler, log_request),
    ):
        setattr(owner, method.__name__, method)
    main()
