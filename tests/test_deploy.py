"""`make deploy`: what it says to a person where it cannot deploy."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from chalice.package import YAMLTemplateSerializer

from dev import deploy
from dev.emulated_aws import REGION, EmulatedAws, emulated_aws
from dev.package import ROOT
from tests.conftest import ENVIRON
from tests.test_config import NEEDED


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dev.deploy"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def nobody(folder: Path) -> dict[str, str]:
    """No credentials and no region anywhere."""
    return {"HOME": str(folder), "AWS_CONFIG_FILE": str(folder / "no-file")}


def test_no_region_is_said_with_the_way_to_name_one(tmp_path: Path) -> None:
    done = run(**nobody(tmp_path), AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    assert done.returncode == 1
    assert done.stderr == "No region is named. Name one: make deploy REGION=eu-central-1\n"


def test_no_credentials_are_said_with_the_way_to_have_some(tmp_path: Path) -> None:
    done = run(**nobody(tmp_path), REGION="eu-central-1")
    assert done.returncode == 1
    assert done.stderr.startswith("There are no AWS credentials. Run `aws configure`")


def test_an_unknown_region_is_said(tmp_path: Path) -> None:
    key = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = run(**nobody(tmp_path), **key, REGION="frankfurt")
    assert done.returncode == 1
    assert done.stderr == "frankfurt is no region of AWS. One is eu-central-1.\n"


def test_credentials_that_aws_refuses_are_said(tmp_path: Path) -> None:
    with emulated_aws(tmp_path, AUTH="true") as aws:
        done = run(**aws.environ | {"AWS_ACCESS_KEY_ID": "AKIAOFNOBODY0000000"})
    assert done.returncode == 1
    assert done.stderr.startswith("AWS refused: ")
    assert "Are the credentials in force" in done.stderr


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder as `make package` leaves it, with next to nothing in the zip."""
    template = YAMLTemplateSerializer().load_template((ROOT / "resources.yaml").read_text())
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(template))
    (tmp_path / "deployment.zip").write_bytes(b"zip")
    return tmp_path


def test_a_token_that_an_error_quotes_is_not_printed(aws: EmulatedAws) -> None:
    # As from a file with the other line ends.
    done = run(**aws.environ, AWS_SESSION_TOKEN="a-token\r")
    assert done.returncode == 1
    assert "<removed>" in done.stderr
    assert "a-token" not in done.stderr


def test_a_file_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    role = {"AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/r"}
    done = run(**nobody(tmp_path), **role, AWS_WEB_IDENTITY_TOKEN_FILE="/no-file", REGION=REGION)
    assert done.returncode == 1
    assert done.stderr.startswith("AWS could not be asked: ")


@pytest.mark.parametrize(
    ("variable", "value", "must_be"),
    [
        ("STACK", "jobs_api", "letters, digits and -"),
        ("ALLOWED_ORIGIN", "app.example.com", "* or one origin"),
        ("ALLOWED_ORIGIN", "", "* or one origin"),
        ("ALARM_EMAIL", "nobody", "an e-mail address, or empty"),
    ],
)
def test_what_cloudformation_would_refuse_is_said_before_aws_is_asked_anything(
    variable: str, value: str, must_be: str, build: Path
) -> None:
    given: dict[str, str | None] = {
        name: value for name, theirs in deploy.PARAMETERS.items() if theirs == variable
    }
    stack = value if variable == "STACK" else "jobs-api"
    session = boto3.Session("a", "b", region_name=REGION)
    with pytest.raises(deploy.DeployError) as raised:
        deploy.deploy(session, stack, given, build)
    assert str(raised.value).startswith(f"{variable} is {value!r}. It must be {must_be}")


def chalice_deploy(project: Path, **environ: str) -> str:
    """What `chalice deploy` of a copy of this project says last; it must fail."""
    for name in ("app.py", "chalicelib", "dev", ".chalice"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    config = project / ".chalice" / "config.json"
    read = json.loads(config.read_text())
    read["stages"]["prod"]["environment_variables"] |= environ
    config.write_text(json.dumps(read))
    done = subprocess.run(
        [Path(sys.executable).parent / "chalice", "deploy", "--stage", "prod"],
        cwd=project,
        env={"PATH": os.environ["PATH"], **nobody(project), "AWS_DEFAULT_REGION": REGION},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr.strip().splitlines()[-1]


def test_chalice_deploy_stops_at_a_placeholder_of_the_stage(tmp_path: Path) -> None:
    said = chalice_deploy(tmp_path)
    assert "USER_POOL_ARN is 'FILL IN: the ARN of the user pool'. It must be " in said
    assert ".chalice/config.json" in said


def test_chalice_deploy_stops_at_a_placeholder_of_the_policy(tmp_path: Path) -> None:
    filled_in = {name: ENVIRON[name] for name in NEEDED}
    said = chalice_deploy(tmp_path, **filled_in)
    assert ".chalice/policy-prod.json still says FILL IN" in said


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedAws]:
    with emulated_aws(tmp_path) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
        yield aws


def refuse(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "no"}}, "Whatever")


def interrupt(**_: Any) -> None:
    raise KeyboardInterrupt


CODE_BUCKET = f"jobs-api-code-000000000000-{REGION}"


@pytest.mark.parametrize(
    ("failing", "why"), [(refuse, "An error occurred (ExpiredToken)"), (interrupt, "stopped\n")]
)
def test_a_failed_upload_is_said_with_the_bucket_that_may_be_there(
    failing: Callable[..., None], why: str, build: Path, aws: EmulatedAws
) -> None:
    aws.session.events.register("before-call.s3.PutObject", failing)
    with pytest.raises(deploy.DeployError) as raised:
        deploy.deploy(aws.session, "jobs-api", {}, build)
    assert str(raised.value).startswith(f"The code was not uploaded: {why}")
    assert f"No stack was touched; the bucket {CODE_BUCKET} may have" in str(raised.value)
    assert [b["Name"] for b in aws.client("s3").list_buckets()["Buckets"]] == [CODE_BUCKET]


def test_a_refused_stack_is_said_with_the_code_that_was_uploaded(
    build: Path, aws: EmulatedAws
) -> None:
    aws.session.events.register("before-call.cloudformation.CreateStack", refuse)
    with pytest.raises(deploy.DeployError, match="The stack is as it was; the code was uploaded"):
        deploy.deploy(aws.session, "jobs-api", {}, build)


@pytest.mark.parametrize(("failing", "times"), [(refuse, 99), (refuse, 1), (interrupt, 99)])
def test_a_wait_that_ends_early_is_said_with_how_to_go_on(
    failing: Callable[..., None], times: int, build: Path, aws: EmulatedAws
) -> None:
    created: list[bool] = []
    polls: list[bool] = []

    busy = {"StackName": "jobs-api", "StackStatus": "CREATE_IN_PROGRESS"}

    def create(**_: Any) -> tuple[AWSResponse, dict[str, str]]:
        created.append(True)
        return AWSResponse("", 200, {}, None), {"StackId": "arn"}

    def poll(**_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        polls.extend(created)
        if not polls:
            return None
        if len(polls) <= times:
            failing()
        return AWSResponse("", 200, {}, None), {"Stacks": [busy], "StackEvents": []}

    aws.session.events.register("before-call.cloudformation.CreateStack", create)
    for operation in ("DescribeStacks", "DescribeStackEvents"):
        aws.session.events.register(f"before-call.cloudformation.{operation}", poll)
    with pytest.raises(deploy.DeployError) as raised:
        deploy.deploy(aws.session, "jobs-api", {}, build)
    assert polls
    assert "The create of the stack jobs-api goes on, if it has begun." in str(raised.value)
    assert str(raised.value).endswith(
        "aws cloudformation describe-stack-events --region eu-central-1 --stack-name jobs-api"
    )


def test_nothing_packaged_is_said(aws: EmulatedAws, tmp_path: Path) -> None:
    with pytest.raises(deploy.DeployError, match="Nothing is packaged yet"):
        deploy.deploy(aws.session, "jobs-api", {}, tmp_path / "nowhere")


def test_another_stack_of_the_same_name_gets_no_advice_to_remove_it(
    build: Path, aws: EmulatedAws
) -> None:
    shop = {"StackName": "shop", "StackStatus": "DELETE_FAILED"}
    aws.session.events.register(
        "before-call.cloudformation.DescribeStacks",
        lambda **_: (AWSResponse("", 200, {}, None), {"Stacks": [shop]}),
    )
    with pytest.raises(deploy.DeployError, match="The stack shop is something else"):
        deploy.deploy(aws.session, "shop", {}, build)


def test_another_stack_of_the_same_name_is_left_alone(build: Path, aws: EmulatedAws) -> None:
    cloudformation = aws.client("cloudformation")
    orders = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "orders"}}
    cloudformation.create_stack(
        StackName="shop", TemplateBody=json.dumps({"Resources": {"Orders": orders}})
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName="shop")
    with pytest.raises(deploy.DeployError, match="The stack shop is something else"):
        deploy.deploy(aws.session, "shop", {}, build)
    assert [b["Name"] for b in aws.client("s3").list_buckets()["Buckets"]] == ["orders"]


@pytest.mark.parametrize(
    ("state", "what_to_do"),
    [
        ("UPDATE_IN_PROGRESS", "Wait until that has ended"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "Wait until that has ended"),
        # A change set that nobody has executed: that does not end by itself.
        ("REVIEW_IN_PROGRESS", "aws cloudformation delete-stack"),
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack"),
        ("DELETE_FAILED", "aws cloudformation delete-stack"),
        ("UPDATE_FAILED", "aws cloudformation rollback-stack"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
    ],
)
def test_a_stack_that_cannot_be_deployed_to_is_said_with_what_to_do(
    state: str, what_to_do: str
) -> None:
    message = deploy.unfit("eu-west-3", "jobs-api", state)
    assert state in message
    assert what_to_do in message
    if "aws" in message:
        assert message.endswith(" --region eu-west-3 --stack-name jobs-api")


def test_a_stack_that_rolled_back_tells_why_this_time_and_what_it_left_behind() -> None:
    client = boto3.Session("a", "b", region_name="eu-central-1").client("cloudformation")
    common = {"StackId": "s", "StackName": "jobs-api", "Timestamp": 0}
    newest_first = [
        {"LogicalResourceId": "jobs-api", "ResourceStatus": "ROLLBACK_COMPLETE"},
        {"LogicalResourceId": "JobRequestsTable", "ResourceStatus": "DELETE_SKIPPED"}
        | {"PhysicalResourceId": "jobs-api-JobRequestsTable-1"},
        {"LogicalResourceId": "APIHandler", "ResourceStatus": "CREATE_FAILED"}
        | {"ResourceStatusReason": "No quota is left"},
        {"LogicalResourceId": "JobRequestsTable", "ResourceStatus": "CREATE_IN_PROGRESS"},
        {"LogicalResourceId": "jobs-api", "ResourceStatus": "CREATE_IN_PROGRESS"}
        | {"ResourceType": "AWS::CloudFormation::Stack"}
        | {"ResourceStatusReason": "Transform AWS::Serverless-2016-10-31 failed with: a reason"},
        {"LogicalResourceId": "UserPool", "ResourceStatus": "UPDATE_FAILED"}
        | {"ResourceStatusReason": "Of another time"},
    ]
    stack = {"StackName": "jobs-api", "StackStatus": "ROLLBACK_COMPLETE", "CreationTime": 0}
    with Stubber(client) as stubber:
        stubber.add_response(
            "describe_stack_events",
            {"StackEvents": [e | common | {"EventId": str(n)} for n, e in enumerate(newest_first)]},
        )
        stubber.add_response("describe_stacks", {"Stacks": [stack]})
        message = deploy.failure(client, "eu-central-1", "jobs-api")
        stubber.assert_no_pending_responses()
    assert message == (
        "The stack jobs-api was not deployed (now ROLLBACK_COMPLETE).\n"
        "- jobs-api: Transform AWS::Serverless-2016-10-31 failed with: a reason\n"
        "- APIHandler: No quota is left\n"
        "It has left these behind, which hold data or could:\n"
        "- JobRequestsTable: jobs-api-JobRequestsTable-1\n"
        "The stack jobs-api has never been whole, or is not any more (ROLLBACK_COMPLETE). "
        "Remove it, and deploy again:\n"
        "aws cloudformation delete-stack --region eu-central-1 --stack-name jobs-api"
    )
