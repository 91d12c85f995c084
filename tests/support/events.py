"""Events as API Gateway sends them to Lambda, Lambda's context, and what comes back."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalicelib.request import parameter_error
from dev.emulated_aws import BUCKET, INDEX, REGION, TABLE

ENVIRON = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_Abc123",
    "JOB_REQUESTS_TABLE": TABLE,
    "JOB_FILES_BUCKET": BUCKET,
    "JOB_LIST_INDEX": INDEX,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",  # pragma: allowlist secret
}
ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
SECONDS = 29
REQUEST_ID = "5b6e0a1c-request-id"
ROUTES = {
    "/jobs/list": "GET",
    "/jobs/get": "GET",
    "/jobs/get-object-url": "GET",
    "/jobs/delete": "DELETE",
}
# What any of them needs: a route ignores the parameters of the others.
QUERY = {"job-id": "1", "object-uuid": "a.png"}


class Response(NamedTuple):
    """What Lambda gives to API Gateway."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Context:
    """Lambda's context, whose remaining time runs down, so that no failing test hangs."""

    aws_request_id = REQUEST_ID

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> float:
        return self.seconds_left() * 1000

    def seconds_left(self) -> float:
        return self._end - time.monotonic()


def id_token_claims(user_id: str) -> dict[str, str]:
    """The claims that API Gateway hands on for an ID token."""
    return {
        "sub": user_id,
        "token_use": "id",
        "email": f"{user_id}@example.com",
        "cognito:username": user_id,
    }


def lambda_event(
    method: str,
    path: str,
    query: Mapping[str, Any] | None = None,
    *,
    user: str | None = ALICE,
    claims: Any = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What API Gateway hands to Lambda, with the claims that it verified."""
    lists = {k: v if isinstance(v, list) else [str(v)] for k, v in (query or {}).items()}
    context: dict[str, Any] = {"httpMethod": method, "resourcePath": path}
    if claims is not None:
        context["authorizer"] = {"claims": claims}
    elif user is not None:
        context["authorizer"] = {"claims": id_token_claims(user)}
    return {
        "requestContext": context,
        "multiValueQueryStringParameters": lists or None,
        "headers": headers or {},
        "pathParameters": None,
        "stageVariables": None,
        "body": None,
    }


def refused(parameter: str, message: str = "") -> dict[str, str]:
    """The body of an error about a parameter: that it is not valid, if there is no message."""
    error = parameter_error(parameter, message)
    return {"message": str(error), "affected_query_parameter": error.parameter}


Invoke = Callable[..., Response]
