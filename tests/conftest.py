"""What the tests share: settings, the app, a Lambda invocation, AWS in the process (moto)."""

import fcntl
import gc
import importlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from chalice.app import Chalice
from moto import mock_aws

from chalicelib import api, aws
from chalicelib.config import Settings, load_settings
from dev import package
from dev.emulated_aws import (
    REGION,
    TABLE,
    create_bucket,
    create_table,
    ignore_shell,
)
from tests.support.events import ENVIRON, SECONDS, Invoke, Response, lambda_event
from tests.support.lambda_instance import SOAK, handle
from tests.support.moto_aws import Aws
from tests.support.running_api import running as running

# Here, before any test module: boto3, urllib and child processes read the environment.
ignore_shell()
os.environ |= ENVIRON
if SOAK:
    os.environ["PYTEST_TIMEOUT"] = "0"

# The files that take longest, first: so no process works on one while the others are done.
LONGEST = (
    *("test_deploy", "test_recipes", "test_operator", "test_page", "test_deployed"),
    *("test_faults", "test_chalice_cli", "test_page_job", "test_deletion", "test_run"),
    *("test_hostile", "test_client", "test_routes", "test_verify"),
    *("test_aws", "test_load"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # make mutants has an order of its own: the fastest test first.
        return
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
    # What is imported by now stays until the end: no garbage collection needs to look at it.
    gc.freeze()


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load_settings(ENVIRON)


@pytest.fixture(scope="session")
def app() -> Any:
    return importlib.import_module("app").app


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
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

    def invoke(*args: Any, seconds_left: float = SECONDS, **kwargs: Any) -> Response:
        return handle(app, lambda_event(*args, **kwargs), seconds_left)

    return invoke


@pytest.fixture
def one_window(app: Chalice, monkeypatch: pytest.MonkeyPatch) -> None:
    """No URL window ends between two requests: it is 2026-01-07 12:02:30 UTC."""
    monkeypatch.setattr("app.time.time", lambda: 1_767_787_350)


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
            with pytest.MonkeyPatch.context() as shell:
                # None of these may change it.
                for name in ("AWS_PROFILE", "LOG_LEVEL", "PYTHONPYCACHEPREFIX"):
                    shell.setenv(name, str(folder / "nothing"))
                shell.setenv("PYTHONOPTIMIZE", "2")
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
def db(emulated: Aws, settings: Settings) -> Any:
    """The API's own DynamoDB, on moto."""
    return aws.Client("dynamodb", settings, lambda: 29)
