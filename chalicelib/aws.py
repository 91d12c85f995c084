"""AWS: clients, made when first needed, once per Lambda instance; credentials; retries."""

import json
import os
import re
import threading
import time
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from chalicelib.config import Settings
from chalicelib.errors import BUSY, ApiError, ConfigError

# An attempt gets the longest read time-out that fits into the request's remaining time, so that a
# slow response is waited for, and no attempt runs past the Lambda's timeout. The shortest one lets
# the API work with Lambda's default timeout of 3 s.
CONNECT_SECONDS = 1.0
READ_SECONDS = (10.0, 5.0, 2.0, 0.5)
RESERVE_SECONDS = 0.5  # for the response
# The first attempt gets no more, as a NAT may have forgotten its connection. S3 may be slow.
FIRST_READ_SECONDS = {"dynamodb": 2.0, "s3": 5.0}
ATTEMPTS = 4
UNTIL_TIME_IS_OVER = 1_000_000  # attempts
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 2.0
PARALLEL_REQUESTS = 8
# Transient errors of DynamoDB and S3, in addition to all with a status of 500 or above.
TRANSIENT_CODES = frozenset(
    """
    BadDigest BandwidthLimitExceeded InternalError InternalServerError LimitExceededException
    OperationAborted PriorRequestNotComplete ProvisionedThroughputExceededException
    ReplicatedWriteConflictException RequestLimitExceeded RequestThrottled
    RequestThrottledException RequestTimeout RequestTimeoutException ServiceUnavailable SlowDown
    ThrottledException Throttling ThrottlingException TooManyRequests TooManyRequestsException
    TransactionConflictException TransactionInProgressException
    """.split()  # noqa: SIM905  a list would take a line per code
)
# A function that returns the seconds until Lambda ends the request.
SecondsLeft = Callable[[], float]
# A response as botocore's events have it.
Parsed = dict[str, Any]
# The members that each response has, and those of one with IsTruncated.
LISTINGS = {
    "Query": (("Items",), ()),
    "ListMultipartUploads": (("IsTruncated",), ("NextKeyMarker", "NextUploadIdMarker")),
    "ListObjectVersions": (("IsTruncated",), ("NextKeyMarker", "NextVersionIdMarker")),
}
# InvalidSignatureException also stands for a wrong key, with another message.
_REFUSED_TIME = re.compile("Request(Expired|TimeTooSkewed):|Inv.*: Signature (expired|not yet)")
# botocore's Session.create_client is not thread-safe, and chalice local has many threads.
_session_lock = threading.RLock()


class Credentials(NamedTuple):
    """AWS credentials; token is the session token of temporary ones, such as Lambda's."""

    access_key: str
    secret_key: str
    token: str | None


class Client:
    """A client of "dynamodb" or "s3": botocore's operations, retried within the request's time.

    After a transient error the request is sent again, up to `attempts` times in all and only while
    time is left; then ApiError (503) is raised. Any other ClientError is raised at once. Items are
    in DynamoDB's own JSON, e.g. {"jobId": {"N": "1"}}.
    """

    def __init__(
        self, name: str, settings: Settings, seconds_left: SecondsLeft, attempts: int = ATTEMPTS
    ) -> None:
        self._name = name
        self._settings = settings
        self._seconds_left = seconds_left
        self._attempts = attempts

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return partial(self._send, operation)

    def _send(self, operation: str, **request: Any) -> Any:
        cause: Exception | None = None
        longest = FIRST_READ_SECONDS[self._name]
        was_refused = False
        for attempt in range(self._attempts):
            if attempt:
                pause_or_end(0.1 * 2 ** min(attempt, 5), self._seconds_left, cause)
            timeout = read_timeout(self._seconds_left(), longest, cause)
            with _session_lock:  # Two threads at once would each make a client.
                client = botocore_client(self._settings, self._name, timeout)
            try:
                return getattr(client, operation)(**request)
            except Exception as error:
                from botocore.exceptions import ReadTimeoutError

                if isinstance(error, ReadTimeoutError):
                    longest = READ_SECONDS[0]
                    for seconds in READ_SECONDS:  # All idle connections may be forgotten.
                        botocore_client(self._settings, self._name, seconds).close()
                elif is_refused_for_its_time(error) and not was_refused:
                    was_refused = True  # Once only: a clock that is wrong stays wrong.
                elif not is_transient(error):
                    raise
                cause = error
        raise ApiError(503, BUSY) from cause


def is_transient(error: Exception) -> bool:
    """Whether the same request can succeed later."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    if isinstance(error, exceptions.ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        # 429 is "too many requests", whatever the code.
        return status >= 500 or status == 429 or error.response["Error"]["Code"] in TRANSIENT_CODES
    no_response = (exceptions.ConnectionError, exceptions.HTTPClientError, ResponseParserError)
    return isinstance(error, no_response)


def is_refused_for_its_time(error: Exception) -> bool:
    """Whether AWS says that the signature is too old, as after a freeze, or from the future."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return False
    return _REFUSED_TIME.match("{Code}: {Message}".format(**error.response["Error"])) is not None


def pause_or_end(seconds: float, seconds_left: SecondsLeft, cause: Exception | None = None) -> None:
    """Wait for up to so many seconds, MAX_PAUSE_SECONDS at most.

    Raises ApiError (503) if too little time would be left for another request.
    """
    from random import uniform

    # Shortened to what leaves time for another request, so that none is given up too early.
    room = seconds_left() - attempt_seconds(READ_SECONDS[-1])
    if room < MIN_PAUSE_SECONDS:
        raise ApiError(503, BUSY) from cause
    # Full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog.
    time.sleep(uniform(0, min(seconds, MAX_PAUSE_SECONDS, room)))  # noqa: S311  not for cryptography


def read_timeout(seconds_left: float, longest: float, cause: Exception | None = None) -> float:
    """The seconds that an attempt may wait. Raises ApiError (503) if there is no time for one."""
    for seconds in READ_SECONDS:
        if seconds <= longest and attempt_seconds(seconds) <= seconds_left:
            return seconds
    raise ApiError(503, BUSY) from cause


def attempt_seconds(read_seconds: float) -> float:
    """The seconds that must be left for an attempt with that read time-out."""
    return min(CONNECT_SECONDS, read_seconds) + read_seconds + RESERVE_SECONDS


def region(settings: Settings) -> str:
    """The region of the environment, else of botocore's configuration. Raises ConfigError."""
    with _session_lock:
        named = settings.region or botocore_session().get_config_variable("region")
    if not named:
        raise ConfigError(
            "AWS_REGION is not set, and no AWS profile names a region. It must be an AWS region, "
            "like eu-central-1. Set it in the shell, or set AWS_PROFILE to choose a profile."
        )
    return str(named)


def credentials() -> Credentials:
    """The current credentials: the environment's, as in Lambda, else botocore's."""
    access_key = os.environ.get("AWS_ACCESS_KEY_ID")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        # botocore reads the older name first.
        token = os.environ.get("AWS_SECURITY_TOKEN") or os.environ.get("AWS_SESSION_TOKEN")
        return Credentials(access_key, secret_key, token)
    with _session_lock:
        found = botocore_session().get_credentials()
    if found is None:
        raise ConfigError(
            "There are no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "shell, or set AWS_PROFILE to choose a profile. A Lambda has those of its role."
        )
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


@cache
def botocore_session() -> Any:
    """The one session, from which clients, a profile's credentials and its region come."""
    # boto3's own session would add 20 ms to a cold start, and nothing that is used here.
    import botocore.session

    return botocore.session.get_session()


@cache
def botocore_client(settings: Settings, name: str, read_timeout: float) -> Any:
    """The one client with these settings: for all requests of a Lambda instance."""
    from botocore.config import Config

    config = Config(
        connect_timeout=min(CONNECT_SECONDS, read_timeout),
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 1},  # its own have no deadline
        max_pool_connections=PARALLEL_REQUESTS,
        parameter_validation=False,  # takes time; every request is our own, and tested
    )
    with _session_lock:
        client = botocore_session().create_client(name, region_name=region(settings), config=config)
    client.meta.events.register("before-parse.dynamodb", _parse_json)
    client.meta.events.register("before-parse.s3.ListObjectVersions", _parse_versions)
    client.meta.events.register("after-call", _check_listing)
    return client


def _parse_json(response_dict: Parsed, customized_response_dict: Parsed, **_: Any) -> None:
    """Parse DynamoDB's response with json only: botocore walks its shape to make the same dict."""
    from botocore.parsers import ResponseParserError

    body = response_dict["body"]
    checksum = str(zlib.crc32(body))
    # botocore checks it only in its own retries.
    if response_dict["headers"].get("x-amz-crc32", checksum) != checksum:
        raise ResponseParserError("DynamoDB's response does not match its checksum")
    if response_dict["status_code"] == 200:
        try:
            customized_response_dict |= {**json.loads(body)}
        except (TypeError, ValueError, RecursionError) as error:
            raise ResponseParserError("DynamoDB's response is not JSON") from error
        response_dict["body"] = b"{}"


def _parse_versions(response_dict: Parsed, customized_response_dict: Parsed, **_: Any) -> None:
    """Parse a listing of versions into texts: botocore's shapes take three times as long."""
    from xml.etree import ElementTree

    # botocore has changed the status of an error, and of what is not XML in UTF-8, to 500.
    if response_dict["status_code"] == 200 and response_dict["body"]:
        # UTF-8 as for botocore, whatever the declaration says.
        parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314  botocore's parser too
        root = ElementTree.fromstring(response_dict["body"], parser)  # noqa: S314  the same
        for element in root:
            # What follows "}" in a tag is its name without the namespace.
            name, value = element.tag.rpartition("}")[2], element.text or ""
            if name in ("Version", "DeleteMarker"):
                version: Any = {each.tag.rpartition("}")[2]: each.text or "" for each in element}
                version["IsLatest"] = version.get("IsLatest") == "true"
                if name == "DeleteMarker":
                    version.pop("Size", None)  # Some servers send one; it marks an object.
                customized_response_dict.setdefault(f"{name}s", []).append(version)
            elif name in ("EncodingType", "NextKeyMarker", "NextVersionIdMarker"):
                customized_response_dict[name] = value
            elif name == "IsTruncated":
                customized_response_dict[name] = value == "true"
        response_dict["body"] = b""


def _check_listing(http_response: Any, parsed: Parsed, model: Any, **_: Any) -> None:
    """Refuse a 200 that is not a whole listing, such as an empty one, or a proxy's HTML."""
    from botocore.parsers import ResponseParserError

    members, next_markers = LISTINGS.get(model.name, ((), ()))
    needed = members + next_markers if parsed.get("IsTruncated") else members
    if http_response.status_code == 200 and any(parsed.get(name) is None for name in needed):
        raise ResponseParserError(f"The response of {model.name} is not a whole listing")
