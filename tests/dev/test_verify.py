"""The checks of `make verify` on an API with a fault each. tests/stack has the command itself."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from unittest.mock import patch

import jwt
import pytest
import urllib3

from chalicelib.errors import ConfigError
from dev import checks
from dev.checks import ALICES, BOBS, CHECKS, Case, FailedError, Stack
from dev.emulated_aws import BUCKET, NO_CONFIGURATION, TABLE, Pool
from dev.package import ROOT
from dev.run import STOPPED_BY
from dev.verify import main, put_job, reasons, remove_user, temporary_users
from tests.support.running_api import Running
from tests.support.servers import Handler, serving


@dataclass
class Exchange:
    """A request on its way to the API, and its response on the way back."""

    case: Case
    method: str
    path: str
    token: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = Callable[[Exchange], None]


def fault(change: Callable[..., None]) -> Callable[..., Fault]:
    """Makes a fault of the arguments.

    An API with a fault changes the request (the status is 0) and then the response.
    """
    return lambda *arguments: lambda exchange: change(exchange, *arguments)


@fault
def token(exchange: Exchange, accepted: Callable[[Exchange], bool]) -> None:
    """A token that should be refused is accepted."""
    if exchange.status == 401 and accepted(exchange):
        exchange.status = 200


@fault
def header(exchange: Exchange, status: int, name: str, value: str = "") -> None:
    """Responses of this status have no such header, or another value in it."""
    if exchange.status == status:
        exchange.headers.pop(name)
        exchange.headers |= {name: value} if value else {}


@fault
def body(exchange: Exchange, pattern: bytes, by: bytes) -> None:
    """The bodies have another text."""
    exchange.body = re.sub(pattern, by, exchange.body)


@fault
def path(exchange: Exchange, pattern: str, by: str) -> None:
    """The API takes the request for another one."""
    exchange.path = re.sub(pattern, by, exchange.path)


@fault
def status(exchange: Exchange, right: int, wrong: int) -> None:
    """Another status, and an empty object as the body."""
    if exchange.status == right:
        exchange.status, exchange.body = wrong, b"{}"


@fault
def taken_for(exchange: Exchange, user: str, pattern: str) -> None:
    """The API takes these requests, by method and path, for those of the case's user."""
    if re.search(pattern, f"{exchange.method} {exchange.path}"):
        exchange.token = getattr(exchange.case, user).tokens["IdToken"]


def leave_upload(exchange: Exchange) -> None:
    key = f"{exchange.case.alice.id}/1/late.mov"
    exchange.case.stack.bucket.Object(key).initiate_multipart_upload()


def leave_delete_marker(exchange: Exchange) -> None:
    exchange.case.stack.bucket.Object(f"{exchange.case.alice.id}/1/DONE").delete()


def leave_entry(exchange: Exchange) -> None:
    exchange.case.stack.table.put_item(Item={"userId": exchange.case.alice.id, "jobId": 1})


def delete_without_slash(exchange: Exchange) -> None:
    prefix = f"{exchange.case.alice.id}/1"
    exchange.case.stack.bucket.object_versions.filter(Prefix=prefix).delete()


ALLOWED, EXPOSED = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"
FAULTS = [
    (checks.no_token, token(lambda e: not e.token), "/jobs/list without a token: 200"),
    (checks.no_token, body(b"Unauthorized", b"No"), "without a token: {'message': 'No'}"),
    (checks.bad_token, token(lambda e: e.token == "garbage"), "with garbage: 200"),
    (
        checks.bad_token,
        token(lambda e: e.token == e.case.alice.tokens["AccessToken"]),
        "/jobs/list with an access token: 200",
    ),
    (
        checks.bad_token,
        token(lambda e: len(e.token) > 9 and e.token != e.case.alice.tokens["AccessToken"]),
        "/jobs/list signed by another key: 200",
    ),
    (checks.headers_of_401, header(401, ALLOWED), f"{ALLOWED}: None"),
    (checks.headers_of_401, header(401, "X-Request-Id"), "X-Request-Id is there: False"),
    (checks.preflight, header(200, ALLOWED, "http://a"), "the origin: 'http://a'"),
    (checks.preflight, header(200, "Access-Control-Allow-Methods", "GET"), "the methods: ['GET']"),
    (
        checks.preflight,
        header(200, "Access-Control-Allow-Headers", "a"),
        "the missing headers: ['Authorization', 'If-None-Match']",
    ),
    (checks.preflight, status(200, 403), "the status: 403"),
    (checks.headers_of_200, status(200, 503), "the status: 503"),
    (checks.headers_of_200, header(200, "Vary"), "Vary: None"),
    (checks.headers_of_200, header(200, EXPOSED, "ETag"), f"{EXPOSED}: 'ETag'"),
    (checks.whole_list, body(b'"job_id":11,', b'"job_id":1,'), "the list: [(1, "),
    (checks.whole_list, taken_for("alice", "list"), "the list: [(11, 'Waiting', 'queued'), (10, "),
    (checks.pages, body(b'"job_id":10,', b'"job_id":11,'), "the pages: [11, 11, 1]"),
    (checks.pages, status(400, 200), "another user's cursor: 200"),
    (checks.not_modified, status(304, 200), "/jobs/list: (200, "),
    (checks.not_modified, header(304, "Vary"), "Vary: None"),
    (checks.results, body(b'"results":{.*?}}', b'"results":{}'), "the results' names: []"),
    (checks.results, body(b"Signature=..", b"Signature="), "the status of a result (full): 403"),
    (
        checks.results,
        body(b'("object_urls".*?Signature=)..', rb"\1"),
        "the status of an object: 403",
    ),
    (checks.results, body(b'names":{.*?}', b'names":{}'), "the files: []"),
    (checks.download, path("&download-as=.*", ""), "the kind: 'None'"),
    (checks.download, path("as=.*", "as=a.png"), "the name: 'a.png'"),
    (checks.download, path("uuid=[^&]+", "uuid=DONE"), "the beginning of the download: b''"),
    (checks.other_users, taken_for("bob", r"get\?job-id=2"), "the status: 200 instead of 404"),
    (checks.other_users, taken_for("bob", "object-uuid"), "the file is hidden: False"),
    (checks.delete, taken_for("bob", "DELETE"), "versions left: "),
]
DESTRUCTIVE_FAULTS = [
    (checks.other_users, taken_for("bob", "DELETE .*job-id=2"), "Bob's files: "),
    (checks.delete, status(200, 503), "the response: (503, {})"),
    (checks.delete, leave_upload, "uploads left: 1"),
    (checks.delete, leave_delete_marker, "versions left: 1"),
    (checks.delete, leave_entry, "jobs left: [1, 10"),
    (checks.delete, delete_without_slash, "job 10's files: (0, "),
]


@pytest.fixture(scope="module")
def stack(running: Running) -> Stack:
    claims = jwt.decode(running.tokens["IdToken"], options={"verify_signature": False})
    aws = running.aws
    return Stack(
        running.url,
        "*",
        Pool(running.pool_arn, claims["aud"]),
        aws.client("cognito-idp"),
        aws.session.resource("dynamodb", endpoint_url=aws.endpoint).Table(TABLE),
        aws.session.resource("s3", endpoint_url=aws.endpoint).Bucket(BUCKET),
    )


@pytest.fixture(scope="module")
def case(stack: Stack) -> Iterator[Case]:
    with temporary_users(stack) as case:
        yield case
    assert stack.job_ids(case.alice.id) == stack.versions(f"{case.alice.id}/") == []
    assert stack.uploads(f"{case.alice.id}/") == []


@pytest.fixture
def restored(case: Case) -> Iterator[Case]:
    """For a test that changes what is there."""
    yield case
    for user, jobs in ((case.alice, ALICES), (case.bob, BOBS)):
        for job_id, job in jobs.items():
            # Only what is gone: writing takes longer than the tests themselves.
            if not [*case.stack.bucket.objects.filter(Prefix=f"{user.id}/{job_id}/")]:
                put_job(case.stack, user.id, job_id, job)


def expect_failure(check: Callable[[Case], None], broken: Fault, message: str, case: Case) -> None:
    class Proxy(Handler):
        def respond(self) -> None:
            sent = dict(self.headers.items())
            exchange = Exchange(case, self.command, self.path, sent.pop("Authorization", ""))
            broken(exchange)
            url = case.stack.url + exchange.path
            sent |= {"Authorization": exchange.token} if exchange.token else {}
            got = urllib3.request(exchange.method, url, headers=sent, retries=False)
            kept = {k: v for k, v in got.headers.items() if k not in ("Content-Length", "Date")}
            exchange.status, exchange.headers, exchange.body = got.status, kept, got.data
            broken(exchange)
            self.send(exchange.status, exchange.body, exchange.headers)

    with serving(Proxy) as url, pytest.raises(FailedError, match=re.escape(message)):
        check(case._replace(stack=case.stack._replace(url=url)))


@pytest.mark.parametrize(("check", "broken", "message"), FAULTS)
def test_a_check_fails_for_its_fault(
    check: Callable[[Case], None], broken: Fault, message: str, case: Case
) -> None:
    expect_failure(check, broken, message, case)


@pytest.mark.parametrize(("check", "broken", "message"), DESTRUCTIVE_FAULTS)
def test_a_check_fails_for_what_is_wrongly_deleted_or_left(
    check: Callable[[Case], None], broken: Fault, message: str, restored: Case
) -> None:
    expect_failure(check, broken, message, restored)


def test_it_says_what_failed_and_whose_data_it_could_not_remove(
    stack: Stack, running: Running
) -> None:
    dynamodb = running.aws.session.resource("dynamodb", endpoint_url=running.aws.endpoint)
    broken = stack._replace(table=dynamodb.Table("gone"))
    with pytest.raises(ConfigError) as raised, temporary_users(broken):
        pass
    first, second = reasons(raised.value).splitlines()
    assert "ResourceNotFoundException" in first
    assert "PutItem" in first
    message = r"The temporary user (\S+) could not be removed: .* Query .* Delete the user's jobs"
    found = re.match(message, second)
    assert found
    remove_user(stack, found[1])


def test_every_check_has_a_fault() -> None:
    assert {check for check, _, _ in FAULTS} == set(CHECKS.values())


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "You must specify a region. Check"),
        ({"REGION": "eu-central-1"}, "Unable to locate credentials. Check"),
        (
            {
                "REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            },
            'Could not connect to the endpoint URL: "http://127.0.0.1:9/". Check',
        ),
    ],
    ids=["region", "credentials", "endpoint"],
)
def test_it_says_in_a_line_what_is_missing(
    environ: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = {number: signal.getsignal(number) for number in STOPPED_BY}
    shell = patch.dict(
        os.environ, NO_CONFIGURATION | {"HOME": "/nonexistent"} | environ, clear=True
    )
    try:
        with shell, pytest.raises(SystemExit) as ended:
            main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    [line] = errors.splitlines()
    assert message in line
    assert line.endswith("the region: make verify REGION=eu-central-1")


def test_ctrl_c_at_the_start_ends_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("print(flush=True)\nimport time\ntime.sleep(60)")
    command = [sys.executable, "-m", "dev.verify"]
    environ = {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (-signal.SIGINT, b"")
