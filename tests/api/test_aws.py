"""chalicelib/aws.py: what is retried, what is not, and never beyond the request's time."""

import contextlib
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from chalicelib import aws
from chalicelib.config import Settings
from chalicelib.errors import ApiError, ConfigError
from tests.support.events import ALICE
from tests.support.moto_aws import Aws
from tests.support.scripted_server import HANG, HANG_UP, Scripted, scripted_server

OK = Scripted(200, '{"Item": {"jobId": {"N": "1"}}}')
OTHER_CHECKSUM = {"x-amz-crc32": "7"}
KEY = {"userId": {"S": ALICE}, "jobId": {"N": "1"}}
QUERY = {"KeyConditionExpression": "userId = :u", "ExpressionAttributeValues": {":u": {"S": ALICE}}}

Connect = Callable[..., Any]


def error(status: int, code: str, message: str = "") -> Scripted:
    body = {"__type": f"com.amazonaws.dynamodb#{code}", "message": message}
    return Scripted(status, json.dumps(body))


@pytest.fixture
def connect(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Connect:
    def connect(
        url: str,
        seconds_left: Callable[[], float] = lambda: 29,
        attempts: int = aws.ATTEMPTS,
        service: str = "dynamodb",
    ) -> Any:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        # A client is made once per settings.
        return aws.Client(service, settings._replace(allowed_origin=url), seconds_left, attempts)

    return connect


def get_item(db: Any) -> Any:
    return db.get_item(TableName="job-requests", Key=KEY)


FAILURES = {
    "500": error(500, "InternalServerError"),
    "503": error(503, "ServiceUnavailable"),
    "throttled": error(400, "ProvisionedThroughputExceededException"),
    "throttling": error(400, "ThrottlingException"),
    "no JSON": Scripted(500, "<html>Bad gateway</html>"),
    "half a response": Scripted(200, '{"Item": {"jobId'),
    "null": Scripted(200, "null"),
    "a list": Scripted(200, "[]"),
    "a deep list": Scripted(200, "[" * 100_000),
    "changed on the way": Scripted(200, OK.body, headers=OTHER_CHECKSUM),
    "an error, changed on the way": error(400, "AccessDeniedException")._replace(
        headers=OTHER_CHECKSUM
    ),
    "hung up": Scripted(HANG_UP),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_transient_failure_is_retried(failure: Scripted, connect: Connect) -> None:
    with scripted_server(failure, failure, OK) as server:
        assert get_item(connect(server.url))["Item"] == {"jobId": {"N": "1"}}
    assert len(server.requests) == 3


def test_a_response_that_matches_its_checksum_is_taken(connect: Connect) -> None:
    headers = {"x-amz-crc32": str(zlib.crc32(OK.body.encode()))}
    with scripted_server(Scripted(200, OK.body, headers=headers)) as server:
        assert get_item(connect(server.url))["Item"]
    assert len(server.requests) == 1


def test_a_page_of_a_query_without_items_is_retried(connect: Connect) -> None:
    no_items = Scripted(200), Scripted(200, '{"Items": null}')
    with scripted_server(*no_items, Scripted(200, '{"Items": []}')) as server:
        assert connect(server.url).query(TableName="job-requests", **QUERY)["Items"] == []
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        ("half a response", "DynamoDB's response is not JSON"),
        ("changed on the way", "DynamoDB's response does not match its checksum"),
    ],
)
def test_the_cause_says_what_is_wrong_with_a_response(
    failure: str, cause: str, connect: Connect
) -> None:
    with (
        scripted_server(FAILURES[failure]) as server,
        pytest.raises(ApiError, match="busy") as raised,
    ):
        get_item(connect(server.url, attempts=1))
    assert str(raised.value.__cause__) == cause


def test_a_failure_that_stays_is_a_503_after_four_attempts_with_growing_pauses(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(aws, "pause_or_end", lambda seconds, *_: pauses.append(seconds))
    with (
        scripted_server(error(500, "InternalServerError")) as server,
        pytest.raises(ApiError, match="busy") as raised,
    ):
        get_item(connect(server.url))
    assert len(server.requests) == 4
    assert pauses == [0.2, 0.4, 0.8]
    assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", ""),
        ("ResourceNotFoundException", ""),
        ("ValidationException", ""),
        ("InvalidSignatureException", "The request signature we calculated does"),
    ],
)
def test_an_error_that_no_retry_would_mend_is_raised_at_once(
    code: str, message: str, connect: Connect
) -> None:
    refused = error(400, code, message)
    with scripted_server(refused) as server, pytest.raises(ClientError, match=code):
        get_item(connect(server.url))
    assert len(server.requests) == 1


TOO_LATE = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"
TOO_EARLY = "Signature not yet current: 20260101T001000Z is still later than 20260101T000500Z"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidSignatureException", TOO_LATE),
        ("InvalidSignatureException", TOO_EARLY),
        ("RequestExpired", "Request has expired."),
        ("RequestTimeTooSkewed", "The difference between the request time and the current time"),
    ],
)
def test_a_request_that_is_refused_because_of_its_time_is_sent_once_more(
    code: str, message: str, connect: Connect
) -> None:
    refused = error(400, code, message)
    with scripted_server(refused, OK) as server:
        assert get_item(connect(server.url))["Item"]
    assert len(server.requests) == 2
    # A clock that is wrong stays wrong.
    with scripted_server(refused) as server, pytest.raises(ClientError, match=code):
        get_item(connect(server.url))
    assert len(server.requests) == 2


def test_botocores_retry_tables_are_covered() -> None:
    """By code or by status; what is not covered is named here, with the reason."""
    table = json.loads((Path(botocore.__file__).parent / "data" / "_retry.json").read_text())
    codes = {
        *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
        *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    }
    policies = [
        table["retry"][service]["__default__"]["policies"] for service in ("s3", "dynamodb")
    ]
    policies.append(table["definitions"])
    for policy in policies:
        for rule in policy.values():
            response = rule.get("applies_when", {}).get("response", {})
            codes.add(response.get("service_error_code", ""))
            if "service_error_code" not in response and "http_status_code" in response:
                status = response["http_status_code"]
                assert aws.is_transient(client_error(status, "Whatever")), status
    # What the service's documents name in addition.
    codes |= {"InternalError", "LimitExceededException", "OperationAborted"}
    codes |= {"ReplicatedWriteConflictException", "RequestTimeoutException", "ThrottledException"}
    codes |= {"TooManyRequests", "TransactionConflictException"}
    not_ours = {
        "": "the rule is one of a status, or of DynamoDB's checksum",
        "EC2ThrottledException": "EC2's own; Lambda raises it, DynamoDB and S3 do not",
    }
    for code in codes - set(not_ours):
        assert aws.is_transient(client_error(400, code)), code
        assert aws.is_transient(client_error(409, code)), code
    for status in TransientRetryableChecker._TRANSIENT_STATUS_CODES:
        assert aws.is_transient(client_error(status, "Whatever"))


def client_error(status: int, code: str) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


def test_a_slow_response_of_s3_is_waited_for(connect: Connect) -> None:
    listing = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
    with scripted_server(Scripted(200, listing, seconds=4)) as server:
        s3 = connect(server.url, service="s3")
        assert s3.list_object_versions(Bucket="job-files")["IsTruncated"] is False
    assert len(server.requests) == 1


def test_dynamodb_on_a_forgotten_connection_is_given_up_early(connect: Connect) -> None:
    started = time.monotonic()
    # The second time, the connection of the first retry is forgotten as well.
    with scripted_server(Scripted(HANG), OK, Scripted(HANG), OK) as server:
        for _ in range(2):
            assert get_item(connect(server.url))["Item"]
    assert len(server.requests) == 4
    # Two seconds each, and what a busy machine takes.
    assert time.monotonic() - started < 9


@pytest.mark.parametrize(
    ("seconds", "left", "longest"),
    [(1, 29, 1), (5, 29, aws.MAX_PAUSE_SECONDS), (1, 2.0, 0.5), (1, 1.54, None), (1, 0, None)],
)
def test_a_pause_is_random_and_leaves_time_for_another_request(
    seconds: float, left: float, longest: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[tuple[float, float]] = []
    monkeypatch.setattr("random.uniform", lambda low, high: (low, high))
    monkeypatch.setattr("time.sleep", pauses.append)
    if longest is None:
        with pytest.raises(ApiError, match="busy"):
            aws.pause_or_end(seconds, lambda: left)
    else:
        aws.pause_or_end(seconds, lambda: left)
    assert pauses == ([] if longest is None else [(0, longest)])


def test_no_request_is_started_with_too_little_time_left(connect: Connect) -> None:
    with scripted_server(OK) as server:
        with pytest.raises(ApiError, match="busy"):
            get_item(connect(server.url, lambda: 1.4))
        assert server.requests == []
        get_item(connect(server.url, lambda: 1.5))


def test_a_server_that_cannot_be_reached_is_a_503(connect: Connect) -> None:
    with scripted_server(OK) as server:
        url = server.url
    with pytest.raises(ApiError, match="busy"):
        get_item(connect(url, attempts=1))


def test_a_server_that_accepts_no_connection_is_given_up_after_a_second(connect: Connect) -> None:
    with contextlib.ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            # These fill its queue.
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        started = time.monotonic()
        with pytest.raises(ApiError, match="busy"):
            get_item(connect("http://127.0.0.1:{1}".format(*server.getsockname()), attempts=1))
    assert 0.9 < time.monotonic() - started < 2.5


def test_the_first_requests_share_a_client_also_if_they_are_sent_at_once(connect: Connect) -> None:
    with scripted_server(OK, OK, OK, OK) as server, ThreadPoolExecutor(4) as pool:
        made = aws.botocore_client.cache_info().misses
        list(pool.map(get_item, [connect(server.url)] * 4))
        assert aws.botocore_client.cache_info().misses == made + 1


def test_a_response_is_the_one_that_boto3_parses(emulated: Aws, settings: Settings) -> None:
    """The differential test of _parse_json."""
    reference = boto3.client("dynamodb", region_name="eu-central-1")
    for job_id in range(3):
        emulated.put_job(
            ALICE,
            job_id,
            objectUuidNames={"a.png": "Grüße.png"},
            uploadIds=["x", 1, None, True, {"deep": [1]}],
        )
    requests: list[tuple[str, dict[str, Any]]] = [
        ("get_item", {"Key": KEY}),
        ("get_item", {"Key": KEY | {"jobId": {"N": "99"}}}),
        ("query", QUERY | {"Limit": 2}),
        ("delete_item", {"Key": KEY}),
    ]
    for operation, request in requests:
        request["TableName"] = settings.job_requests_table
        theirs = getattr(reference, operation)(**request)
        ours = getattr(aws.Client("dynamodb", settings, lambda: 29), operation)(**request)
        del theirs["ResponseMetadata"], ours["ResponseMetadata"]
        assert ours == theirs


def test_credentials_are_the_environments_before_a_profiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert aws.credentials() == ("AKID", "secret", "token")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert aws.credentials() == ("AKID", "secret", None)
    monkeypatch.setenv("AWS_SECURITY_TOKEN", "legacy")
    assert aws.credentials() == ("AKID", "secret", "legacy")


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the files config and credentials: no other AWS is in the environment."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    aws.botocore_session.cache_clear()
    yield tmp_path
    aws.botocore_session.cache_clear()


def test_region_and_credentials_come_from_a_profile_where_the_environment_has_none(
    profile: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (profile / "config").write_text("[default]\nregion = eu-west-3\n")
    keys = "aws_access_key_id = P\naws_secret_access_key = q\naws_session_token = r\n"
    (profile / "credentials").write_text(f"[default]\n{keys}")
    assert aws.region(settings._replace(region="")) == "eu-west-3"
    assert aws.credentials() == ("P", "q", "r")
    # Half a pair is no credentials.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert aws.credentials() == ("P", "q", "r")


def test_neither_region_nor_credentials_is_an_error_that_says_so(
    profile: Path, settings: Settings
) -> None:
    with pytest.raises(ConfigError) as no_region:
        aws.region(settings._replace(region=""))
    assert str(no_region.value) == (
        "AWS_REGION is not set, and no AWS profile names a region. It must be an AWS region, like "
        "eu-central-1. Set it in the shell, or set AWS_PROFILE to choose a profile."
    )
    with pytest.raises(ConfigError) as no_credentials:
        aws.credentials()
    assert str(no_credentials.value) == (
        "There are no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
        "shell, or set AWS_PROFILE to choose a profile. A Lambda has those of its role."
    )
