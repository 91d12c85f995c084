"""AWS: clients, made when first needed, once per Lambda instance; credentials; retries."""

import json
import os
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from chalicelib.config import Settings
from chalicelib.errors import BUSY, ApiError, ConfigError

# One attempt takes at most ATTEMPT_SECONDS; none is started with less time left.
CONNECT_SECONDS, READ_SECONDS, ATTEMPT_SECONDS = 1.0, 1.8, 3.0
ATTEMPTS = 4
PARALLEL_REQUESTS = 8
# Transient errors of DynamoDB and S3, in addition to all with a status of 500 or above.
TRANSIENT_CODES = {
    "InternalError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}

# botocore's Session.create_client is not thread-safe, and chalice local has many threads.
_making = threading.RLock()

# Access key, secret key, and a session token where they are temporary, as Lambda's are.
Credentials = tuple[str, str, str | None]


def client(name: str, settings: Settings, seconds_left: Callable[[], float]) -> Any:
    """A client of "dynamodb" or "s3": botocore's operations, retried within the request's time.

    A transient error is retried up to ATTEMPTS times, and never beyond the request's time; then
    ApiError (503) is raised. Any other ClientError is raised at once. Items are in DynamoDB's own
    JSON, e.g. {"jobId": {"N": "1"}}.
    """
    return _RetryingClient(_client(settings, name), seconds_left)


class _RetryingClient:
    # botocore's own retries know no deadline.

    def __init__(self, client: Any, seconds_left: Callable[[], float]) -> None:
        self._client = client
        self._seconds_left = seconds_left

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return partial(_send, getattr(self._client, operation), self._seconds_left)


def region(settings: Settings) -> str:
    """The region of the environment, else of botocore's configuration. Raises ConfigError."""
    with _making:
        named = settings.region or _session().get_config_variable("region")
    if not named:
        raise ConfigError(
            "AWS_REGION is not set, and no AWS profile names a region. It must be an AWS region, "
            "like eu-central-1. Set it in the shell, or choose a profile by AWS_PROFILE."
        )
    return str(named)


def credentials() -> Credentials:
    """The credentials now in force: the environment's, as in Lambda, else botocore's."""
    access_key = os.environ.get("AWS_ACCESS_KEY_ID")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        # botocore reads the older name first.
        token = os.environ.get("AWS_SECURITY_TOKEN") or os.environ.get("AWS_SESSION_TOKEN")
        return access_key, secret_key, token
    with _making:
        found = _session().get_credentials()
    if found is None:
        raise ConfigError(
            "There are no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "shell, or choose a profile by AWS_PROFILE; a Lambda has its role's."
        )
    frozen = found.get_frozen_credentials()
    return str(frozen.access_key), str(frozen.secret_key), frozen.token


@cache
def _session() -> Any:
    # boto3's own session adds nothing that is used here, but 20 ms to a new Lambda instance.
    import botocore.session

    session = botocore.session.get_session()
    # No timestamp is read here, and parsing them is most of the work of a listing.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    return session


@cache
def _client(settings: Settings, name: str) -> Any:
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=PARALLEL_REQUESTS,
    )
    with _making:
        client = _session().create_client(name, region_name=region(settings), config=config)
    client.meta.events.register("before-parse.dynamodb", _parse_json)
    return client


def _send(operation: Callable[..., Any], seconds_left: Callable[[], float], **request: Any) -> Any:
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    transient = (exceptions.ConnectionError, exceptions.HTTPClientError, ResponseParserError)
    cause: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            from random import uniform

            # Full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog.
            time.sleep(uniform(0, 0.1 * 2**attempt))  # noqa: S311  not for cryptography
        if seconds_left() < ATTEMPT_SECONDS:
            break
        try:
            return operation(**request)
        except transient as error:
            cause = error
        except exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status < 500 and error.response["Error"]["Code"] not in TRANSIENT_CODES:
                raise
            cause = error
    raise ApiError(503, BUSY) from cause


def _parse_json(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Parse DynamoDB's response by json alone: botocore's walk of its shape gives the same."""
    if response_dict["status_code"] == 200:
        from botocore.parsers import ResponseParserError

        try:
            customized_response_dict.update(json.loads(response_dict["body"]))
        except ValueError as error:
            raise ResponseParserError("DynamoDB's response is not JSON") from error
        response_dict["body"] = b"{}"
