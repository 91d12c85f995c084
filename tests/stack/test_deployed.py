"""The packaged stack, deployed by CloudFormation onto ministack that enforces IAM (AUTH=true).

`make verify` proves it; the other tests show what only the emulator can show.
"""

import itertools
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from chalicelib.errors import ConfigError
from dev import demo, verify
from dev.checks import CHECKS, Case, fetch, headers_of_401
from dev.emulated_aws import EmulatedAws, emulated_aws
from dev.package import ROOT
from tests.support.commands import environment, load
from tests.support.lambda_instance import SOAK
from tests.support.stack import STACK, deploy_stack

# What the tests send requests to; CloudFormation itself creates more.
SERVICES = "apigateway,cloudformation,cognito-idp,dynamodb,iam,logs,s3"
POLICY = ROOT / "docs" / "deployer-policy.json"
VERIFY = ["make", "--silent", "verify", *environment(sys.prefix)]
ORIGIN = "https://app.example.com"
IMAGES = demo.Job("success", "Images", ["garden.png", "b.png", "c.png"])


class Deployed(NamedTuple):
    """The stack on its AWS, with two users who have jobs in it."""

    aws: EmulatedAws
    created: dict[str, str]
    outputs: dict[str, str]
    bucket_policy: str
    case: Case

    def everything(self) -> list[set[str]]:
        """All users, items, versions and uploads."""
        stack = self.case.stack
        users = stack.cognito.list_users(UserPoolId=self.outputs["UserPoolId"])["Users"]
        return [
            {user["Username"] for user in users},
            {f"{item['userId']} {item['jobId']}" for item in stack.table.scan()["Items"]},
            {f"{each.object_key} {each.id}" for each in stack.versions("")},
            {f"{each.object_key} {each.id}" for each in stack.uploads("")},
        ]


@pytest.fixture(scope="module")
def stack(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack after an update, without its bucket's policy, which refuses plain HTTP."""
    folder = tmp_path_factory.mktemp("deployed")
    with (
        emulated_aws(folder, AUTH="true", SERVICES=SERVICES) as aws,
        pytest.MonkeyPatch.context() as environ,
    ):
        created = deploy_stack(aws, build, "https://before.example.com", "create")
        for name, value in aws.environ.items():
            environ.setenv(name, value)
        with verify.temporary_users(verify.find_stack(STACK, None)) as case:
            outputs = deploy_stack(aws, build, ORIGIN, "update")
            url = case.stack.url.replace(created["RestAPIId"], outputs["RestAPIId"])
            case = case._replace(stack=case.stack._replace(url=url, origin=ORIGIN))
            policy = case.stack.bucket.Policy()
            text = policy.policy
            policy.delete()
            yield Deployed(aws, created, outputs, text, case)


def make_verify(*arguments: str) -> tuple[int, list[str]]:
    """The status, and the lines of the output, errors too."""
    command, pipe = [*VERIFY, *arguments], subprocess.PIPE
    run = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    return run.returncode, run.stdout.splitlines()


def test_the_bucket_refuses_what_does_not_come_over_tls(stack: Deployed) -> None:
    """The emulator speaks plain HTTP."""
    url = stack.case("get-object-url", job_id=1, object_uuid="a.png").json["url"]
    policy = stack.case.stack.bucket.Policy()
    policy.put(Policy=stack.bucket_policy)
    try:
        response = fetch(url)
    finally:
        policy.delete()
    assert response.status == 403
    assert b"AccessDenied" in response.body


def test_verify_prints_a_plain_line_for_each_check_and_removes_only_what_it_made(
    stack: Deployed,
) -> None:
    """By a role with the documented policy."""
    before, iam = stack.everything(), stack.aws.client("iam")
    iam.create_user(UserName="deployer")
    iam.put_user_policy(UserName="deployer", PolicyName="a", PolicyDocument=POLICY.read_text())
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    status, lines = make_verify(
        f"STACK={STACK}",
        "REGION=eu-central-1",
        f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}",
        f"AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}",
    )
    assert lines == [
        "Making two temporary users with jobs and files ...",
        *(f"ok     {name}" for name in CHECKS),
        f"{len(CHECKS)} of {len(CHECKS)} checks passed. The users are removed.",
    ]
    assert status == 0
    assert stack.everything() == before


def test_verify_fails_for_the_check_whose_part_of_the_stack_is_broken(stack: Deployed) -> None:
    before, gateway = stack.everything(), stack.aws.client("apigateway")
    what = {"restApiId": stack.outputs["RestAPIId"], "responseType": "UNAUTHORIZED"}
    right = gateway.get_gateway_response(**what)
    names = ("responseParameters", "responseTemplates")
    for parts in ({}, {name: right[name] for name in names}):
        gateway.put_gateway_response(**what, **parts)
        gateway.create_deployment(restApiId=what["restApiId"], stageName="api")
        if not parts:
            status, lines = make_verify()
    assert status == 2
    [failed] = [line for line in lines if line.startswith("FAILED ")]
    assert failed.startswith(f"FAILED {headers_of_401.__doc__}: ")
    assert f"{len(CHECKS) - 1} of {len(CHECKS)} checks passed. The users are removed." in lines
    assert stack.everything() == before


@pytest.mark.parametrize("moment", ["Making two temporary users", "ok     "])
def test_ctrl_c_in_a_terminal_removes_all_that_was_made(moment: str, stack: Deployed) -> None:
    before, seen = stack.everything(), b""
    terminal, output = pty.openpty()
    process = subprocess.Popen(
        VERIFY, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
    )
    os.close(output)
    with open(terminal, "rb", buffering=0) as screen:
        while moment.encode() not in seen:
            seen += screen.read(1000)
        assert stack.everything() != before or moment.startswith("Making")
        # A terminal sends it to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        with suppress(OSError):  # Linux's end of a terminal's output
            while more := screen.read(1000):
                seen += more
    assert process.wait() != 0
    assert b"Stopped. The temporary users and their data are removed." in seen
    assert b"Traceback" not in seen
    if moment == "ok     ":
        assert b"\r\033[Kok     " in seen
        assert b"[............]" in seen
    assert stack.everything() == before


def test_verify_removes_all_that_was_made_when_nobody_reads_its_output(stack: Deployed) -> None:
    before = stack.everything()
    # What Python keeps in a buffer, it tries to write when it ends.
    verify_command = f"env -u PYTHONUNBUFFERED {shlex.join(VERIFY)} | head -1"
    done = subprocess.run(verify_command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "Making two temporary users with jobs and files ...\n"
    _, stopped, _ = done.stderr.splitlines()
    assert stopped == "Stopped. The temporary users and their data are removed."
    assert stack.everything() == before


def test_verify_says_in_a_line_that_it_needs_a_stack_of_this_project(stack: Deployed) -> None:
    status, lines = make_verify("STACK=nope")
    message = "There is no stack nope in eu-central-1: make verify STACK=… REGION=…"
    assert (status, lines[0]) == (2, message)
    template = '{"Resources": {"Logs": {"Type": "AWS::Logs::LogGroup"}}}'
    stack.aws.client("cloudformation").create_stack(StackName="other", TemplateBody=template)
    message = r"The stack other is not one of make deploy, or .+ no 'EndpointURL'"
    with pytest.raises(ConfigError, match=message):
        verify.find_stack("other", None)


@pytest.mark.parametrize(
    "action",
    [
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:ListBucketVersions",
        "s3:ListBucketMultipartUploads",
        "s3:AbortMultipartUpload",
    ],
)
def test_without_a_permission_delete_fails_and_the_entry_stays(
    action: str, stack: Deployed
) -> None:
    """Also the other way round: with all that the role has, it works, so none is missing."""
    case = stack.case
    verify.put_job(case.stack, case.alice.id, 4, IMAGES)
    iam = stack.aws.client("iam")
    [role] = [r["RoleName"] for r in iam.list_roles()["Roles"] if "ApiHandlerRole" in r["RoleName"]]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = json.loads(json.dumps(policy).replace(f'"{action}"', '"s3:GetObjectAcl"'))
    assert less != policy
    for document, status in ((less, 500), (policy, 200)):
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        assert case("delete", job_id=4).status == status
        assert (4 in case.stack.job_ids(case.alice.id)) == (status == 500)
        prefix = f"{case.alice.id}/4/"
        left = case.stack.versions(prefix) + case.stack.uploads(prefix)
        assert bool(left) == (status == 500)


def test_the_log_group_gets_one_json_line_a_request(stack: Deployed) -> None:
    stack.case("list")
    logs, group = stack.aws.client("logs"), stack.outputs["LogGroupName"]
    messages = [e["message"] for e in logs.filter_log_events(logGroupName=group)["events"]]
    lines = [json.loads(message) for message in messages if message.startswith("{")]
    assert any(line["route"] == "GET /jobs/list" and line["status"] == 200 for line in lines)
    assert not any("X-Amz-Signature" in m or "eyJ" in m or "@example" in m for m in messages)


@pytest.mark.skipif(not SOAK, reason="minutes: make soak")
def test_under_load_the_stack_gives_right_responses_and_deletes_all(
    stack: Deployed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Jobs are listed, got and deleted by many callers, while the writer puts in new ones."""
    case = stack.case
    jobs = list(itertools.product(range(1, 21), (case.alice, case.bob)))
    ended = threading.Event()

    def write() -> None:
        for job_id, user in itertools.cycle(jobs):
            if ended.wait(0.05):
                return
            verify.put_job(case.stack, user.id, job_id, IMAGES)

    tokens = {user.id: user.tokens["IdToken"] for user in (case.alice, case.bob)}
    with ThreadPoolExecutor() as pool, capfd.disabled():
        writer = pool.submit(write)
        try:
            seen = load(case.stack.url, tokens, int(os.environ.get("LOAD_SECONDS", 300)), tmp_path)
        finally:
            ended.set()
        writer.result()
    assert {"/jobs/list 200", "/jobs/list 304", "/jobs/get 200", "/jobs/get 404"} <= seen
    assert {"/jobs/get-object-url 200", "/jobs/delete 200"} <= seen
    for job_id, user in jobs:
        assert case("delete", user.tokens["IdToken"], job_id=job_id).status == 200
        assert case.stack.versions(f"{user.id}/{job_id}/") == []
        assert case.stack.uploads(f"{user.id}/{job_id}/") == []
        assert job_id not in case.stack.job_ids(user.id)


def test_an_update_of_the_stack_keeps_the_data(stack: Deployed) -> None:
    changed = {name for name in stack.outputs if stack.outputs[name] != stack.created[name]}
    # AWS keeps the API's id too.
    assert changed <= {"RestAPIId", "EndpointURL"}
    response = stack.case("get", job_id=1)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert fetch(next(iter(response.json["results"].values()))["full"]).status == 200
