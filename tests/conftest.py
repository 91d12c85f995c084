"""What the tests share: settings, the app, a Lambda invocation, AWS in the process (moto)."""

import fcntl
import importlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from chalice.app import Chalice
from moto import mock_aws

from chalicelib import api, aws
from chalicelib.config import Settings, load_settings
from dev import package
from dev.emulated_aws import (
    BUCKET,
    INDEX,
    REGION,
    TABLE,
    create_bucket,
    create_table,
    ignore_shell,
)
from tests import openapi

# Here, before any test module: boto3, urllib and child processes read the environment.
ignore_shell()

ENVIRON = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_Abc123",
    "JOB_REQUESTS_TABLE": TABLE,
    "JOB_FILES_BUCKET": BUCKET,
    "JOB_LIST_INDEX": INDEX,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"


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

    aws_request_id = "5b6e0a1c-request-id"

    def __init__(self, seconds_left: float) -> None:
        self._end = time.monotonic() + seconds_left

    def get_remaining_time_in_millis(self) -> float:
        return (self._end - time.monotonic()) * 1000


def id_token_claims(user_id: str) -> dict[str, str]:
    """The claims that API Gateway hands on for an ID token."""
    return {
        "sub": user_id,
        "token_use": "id",
        "email": f"{user_id}@example.com",
        "cognito:username": user_id,
    }


class Aws(NamedTuple):
    """The emulated AWS in the process: what the API uses, and helpers to look behind it."""

    table: Any
    s3: Any

    def put_job(self, user_id: str, job_id: int, **attributes: Any) -> None:
        date = f"2026-01-01 00:00:{job_id:09} UTC"
        self.table.put_item(Item={"userId": user_id, "jobId": job_id, "date": date} | attributes)

    def put_objects(self, *keys: str) -> None:
        for key in keys:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"content")

    def versions(self, prefix: str = "") -> list[str]:
        """The keys of all versions and delete markers."""
        page = self.s3.list_object_versions(Bucket=BUCKET, Prefix=prefix)
        return sorted(v["Key"] for v in page.get("Versions", []) + page.get("DeleteMarkers", []))

    def uploads(self) -> list[str]:
        page = self.s3.list_multipart_uploads(Bucket=BUCKET)
        return [upload["Key"] for upload in page.get("Uploads", [])]


Invoke = Callable[..., Response]


def lambda_event(
    method: str,
    path: str,
    query: dict[str, Any] | None = None,
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


# The files that take longest, first: so no process works on one while the others are done.
LONGEST = ("test_page", "test_faults", "test_hostile", "test_deletion", "test_run", "test_api_js")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # make mutants has an order of its own: the fastest test first.
        return
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load_settings(ENVIRON)


@pytest.fixture(scope="session")
def app() -> Iterator[Chalice]:
    with pytest.MonkeyPatch.context() as environ:
        for name, value in ENVIRON.items():
            environ.setenv(name, value)
        module = importlib.import_module("app")
        yield module.app


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """The log lines."""
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(record.getMessage()))

    handler = Keep()
    api.LOG.addHandler(handler)
    yield lines
    api.LOG.removeHandler(handler)


@pytest.fixture(scope="session")
def invoke(app: Chalice) -> Invoke:
    """Invokes the Lambda handler as API Gateway does."""

    def invoke(*args: Any, seconds_left: float = 29, **kwargs: Any) -> Response:
        response = app(lambda_event(*args, **kwargs), Context(seconds_left))
        assert response["multiValueHeaders"] == {}
        openapi.check(
            args[0], args[1], response["statusCode"], response["headers"], response["body"].encode()
        )
        return Response(response["statusCode"], response["headers"], response["body"])

    return invoke


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package` writes, once for all workers of a run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # It is written last.
        if not (folder / "build" / "template.yaml").exists():
            package.main(folder / "build")
    return folder / "build"


@pytest.fixture(scope="session")
def _moto() -> Aws:
    """Clients, made once: that takes longer than what a test does with them."""
    session = boto3.Session("AKIDEXAMPLE", "secret", region_name=REGION)
    return Aws(session.resource("dynamodb").Table(TABLE), session.client("s3"))


@pytest.fixture
def emulated(_moto: Aws) -> Iterator[Aws]:
    """An empty table and bucket in moto."""
    with mock_aws(config={"core": {"mock_credentials": False}}):
        create_table(_moto.table.meta.client)
        create_bucket(_moto.s3)
        yield _moto


@pytest.fixture
def db(emulated: Aws, settings: Settings, credentials: None) -> Any:
    """The API's own DynamoDB, on moto."""
    return aws.Client("dynamodb", settings, lambda: 29)


@pytest.fixture
def s3(emulated: Aws, settings: Settings, credentials: None) -> Any:
    """The API's own S3, on moto."""
    return aws.Client("s3", settings, lambda: 29)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, ENVIRON[name])
