"""API Gateway on this machine: verifies tokens, makes events, invokes the app."""

import json
import os
import ssl
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any, cast

import jwt
from chalice.app import Chalice, CognitoUserPoolAuthorizer, CORSConfig
from chalice.local import LambdaContext, LambdaEventConverter, RouteMatcher
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from dev.resources import HEADERS

# A token may come from a clock that is ahead of this machine's.
LEEWAY_SECONDS = 5


class Gateway:
    """Has an instance of the app for each request at a time, as Lambda has.

    For Chalice keeps the current request in the app. load_app makes an instance, which has so many
    seconds for a request.
    """

    def __init__(self, load_app: Callable[[], Chalice], seconds: int) -> None:
        self._load_app = load_app
        self._milliseconds = seconds * 1000
        self._app = load_app()
        self._idle = [self._app]
        self._events = LambdaEventConverter(RouteMatcher(list(self._app.routes)))
        self._settings = load_settings(os.environ)

    def respond(self, request: Request) -> Response:
        """The response of the app, or API Gateway's own."""
        context = LambdaContext("api_handler", 0, self._milliseconds)
        try:
            event = self._event(request)
            path = event["requestContext"]["resourcePath"]
            routes = self._app.routes[path]
            if request.method == "OPTIONS":
                return self._preflight(list(routes), context)
            authorizer = routes[request.method].authorizer
        except (KeyError, ValueError):
            return self._own_response(403, "Missing Authentication Token", context)
        except (HTTPException, OSError):
            return self._own_response(400, "Bad Request", context)
        event["requestContext"]["requestId"] = context.aws_request_id
        try:
            if isinstance(authorizer, CognitoUserPoolAuthorizer):
                token = request.headers.get("Authorization", "").removeprefix("Bearer ")
                event["requestContext"]["authorizer"] = {"claims": self._claims(token)}
            result = self._invoke(event, context)
        except jwt.PyJWTError as error:
            # What follows a colon may be the token's.
            print(f"Unauthorized: {str(error).partition(':')[0]}", file=sys.stderr)
            return self._own_response(401, "Unauthorized", context)
        except ConfigError as error:
            print(error, file=sys.stderr)
            return self._own_response(500, str(error), context)
        except Exception:
            traceback.print_exc()
            return self._own_response(502, "Internal server error", context)
        if result["statusCode"] == HTTPStatus.UNAUTHORIZED:
            print("Unauthorized: the token is not an ID token", file=sys.stderr)
        headers = result["headers"] | result["multiValueHeaders"]
        return Response(result["body"], result["statusCode"], headers)

    def _event(self, request: Request) -> dict[str, Any]:
        """Raises ValueError for an unknown path, OSError or HTTPException for a malformed body."""
        url = f"{request.path}?{request.query_string.decode()}"
        headers, body = dict(request.headers), request.get_data() or None
        return self._events.create_lambda_event(request.method, url, headers, body)

    def _invoke(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        try:
            app = self._idle.pop()
        except IndexError:
            app = self._load_app()
        try:
            return app(event, context)
        finally:
            self._idle.append(app)

    def _preflight(self, methods: list[str], context: LambdaContext) -> Response:
        response = self._own_response(200, "", context)
        response.headers |= cast(CORSConfig, self._app.api.cors).get_access_control_headers()
        response.headers["Access-Control-Allow-Methods"] = ",".join([*methods, "OPTIONS"])
        return response

    def _own_response(self, status: int, message: str, context: LambdaContext) -> Response:
        headers = {name: value.strip("'") for name, value in HEADERS.items() if value}
        headers["Access-Control-Allow-Origin"] = self._settings.allowed_origin
        headers["Content-Type"] = "application/json"
        headers["X-Request-Id"] = context.aws_request_id
        return Response(json.dumps({"message": message}) if message else "", status, headers)

    def _claims(self, token: str) -> dict[str, str]:
        """The claims of a token that the user pool has signed, as texts.

        Raises jwt.PyJWTError if the token is bad, ConfigError if the pool's keys cannot be read.
        """
        jwt.get_unverified_header(token)
        try:
            self._keys.get_signing_keys()
        except (jwt.PyJWTError, ValueError, OSError) as error:
            reason = error.__cause__ or error
            raise ConfigError(
                f"The user pool's keys cannot be read from {self._keys_url}: {reason}. They are at "
                "the endpoint in AWS_ENDPOINT_URL, or at Cognito's in the region of USER_POOL_ARN."
            ) from error
        key = self._keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, ["RS256"], {"verify_aud": False}, leeway=LEEWAY_SECONDS)
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in claims.items()}

    @property
    def _keys_url(self) -> str:
        _, _, _, region, _, pool = self._settings.user_pool_arn.split(":")
        cognito = f"https://cognito-idp.{region}.amazonaws.com"
        endpoint = (os.environ.get("AWS_ENDPOINT_URL") or cognito).rstrip("/")
        return f"{endpoint}/{pool.rpartition('/')[2]}/.well-known/jwks.json"

    @cached_property
    def _keys(self) -> jwt.PyJWKClient:
        certificates = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        return jwt.PyJWKClient(self._keys_url, timeout=5, ssl_context=certificates)
