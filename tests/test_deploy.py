"""`make deploy`: what it says to a person where it cannot deploy."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from dev import deploy
from dev.emulated_aws import emulated_aws
from dev.package import ROOT


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


@pytest.mark.parametrize(
    ("state", "what_to_do"),
    [
        ("UPDATE_IN_PROGRESS", "Wait until that has ended"),
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack --stack-name jobs-api"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
    ],
)
def test_a_stack_that_cannot_be_deployed_to_is_said_with_what_to_do(
    state: str, what_to_do: str
) -> None:
    assert state in deploy.unfit("jobs-api", state)
    assert what_to_do in deploy.unfit("jobs-api", state)


def test_a_stack_that_rolled_back_tells_why_and_what_it_left_behind() -> None:
    client = boto3.Session("a", "b", region_name="eu-central-1").client("cloudformation")
    common = {"StackId": "s", "StackName": "jobs-api", "Timestamp": 0}
    events = [
        {"LogicalResourceId": "JobRequestsTable", "ResourceStatus": "DELETE_SKIPPED"}
        | {"PhysicalResourceId": "jobs-api-JobRequestsTable-1"},
        {"LogicalResourceId": "APIHandler", "ResourceStatus": "CREATE_FAILED"}
        | {"ResourceStatusReason": "No quota is left"},
    ]
    stack = {"StackName": "jobs-api", "StackStatus": "ROLLBACK_COMPLETE", "CreationTime": 0}
    with Stubber(client) as stubber:
        stubber.add_response(
            "describe_stack_events",
            {"StackEvents": [e | common | {"EventId": str(n)} for n, e in enumerate(events)]},
        )
        stubber.add_response("describe_stacks", {"Stacks": [stack]})
        message = deploy.failure(client, "jobs-api")
        stubber.assert_no_pending_responses()
    assert message == (
        "The stack jobs-api was not deployed (now ROLLBACK_COMPLETE).\n"
        "- APIHandler: No quota is left\n"
        "It has left these behind, which hold data or could:\n"
        "- JobRequestsTable: jobs-api-JobRequestsTable-1\n"
        "The stack jobs-api has never been whole (ROLLBACK_COMPLETE). "
        "Remove it, and deploy again:\n"
        "aws cloudformation delete-stack --stack-name jobs-api"
    )
