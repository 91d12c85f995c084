"""`make deploy`: the packaged stack onto AWS, by CloudFormation, and the outputs printed.

REGION, STACK, ALLOWED_ORIGIN and ALARM_EMAIL are read from the environment. What is not given
stays as it is in a stack that exists.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import yaml
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    UnknownRegionError,
    WaiterError,
)
from chalice.package import YAMLTemplateSerializer

from chalicelib.response import without_secrets
from dev.package import BUILD, ROOT

PARAMETERS = {"AllowedOrigin": "ALLOWED_ORIGIN", "AlarmEmail": "ALARM_EMAIL"}
# A state in which CloudFormation takes a new version of a stack.
UPDATABLE = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}
NEVER_WHOLE = {
    "CREATE_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
}
# An hour: a table or a pool may take CloudFormation long, and then fail.
WAITER = {"Delay": 3, "MaxAttempts": 1200}


class DeployError(Exception):
    """Why it was not deployed, what is there all the same, and what to do."""


def main() -> None:
    """Deploy build/, or end with a message that says what to do."""
    stack = os.environ.get("STACK") or "jobs-api"
    given = {name: os.environ.get(variable) for name, variable in PARAMETERS.items()}
    try:
        session = boto3.Session(
            region_name=os.environ.get("REGION") or os.environ.get("AWS_REGION")
        )
        if not session.region_name:
            raise DeployError("No region is named. Name one: make deploy REGION=eu-central-1")
        session.get_partition_for_region(session.region_name)
        outputs = deploy(session, stack, given)
    except DeployError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. No stack was touched.")
    except UnknownRegionError as error:
        sys.exit(f"{error.kwargs['region_name']} is no region of AWS. One is eu-central-1.")
    except NoCredentialsError:
        sys.exit("There are no AWS credentials. Run `aws configure`, or set AWS_PROFILE.")
    except EndpointConnectionError as error:
        sys.exit(f"AWS does not answer: {error} Is REGION right, and the network up?")
    except ClientError as error:
        sys.exit(f"AWS refused: {error}\nAre the credentials in force, and may they do this?")
    except (BotoCoreError, OSError, ValueError) as error:
        sys.exit(
            f"AWS could not be asked: {without_secrets(str(error))}\n"
            "Are AWS_PROFILE, the files in ~/.aws and AWS_ENDPOINT_URL right, and the network up?"
        )
    for name, value in sorted(outputs.items()):
        print(f"{name}: {value}")


def deploy(
    session: boto3.Session, stack: str, given: dict[str, str | None], build: Path = BUILD
) -> dict[str, str]:
    """Create or update the stack from the folder `build`; its outputs.

    given: values of the template's parameters, None where none was given.
    Raises DeployError, and botocore's errors while no stack has been touched.
    """
    check(stack, given)
    account = session.client("sts").get_caller_identity()["Account"]
    cloudformation = session.client("cloudformation")
    described = describe(cloudformation, stack)
    if described and not set(PARAMETERS) <= {p["ParameterKey"] for p in described["Parameters"]}:
        raise DeployError(f"The stack {stack} is something else. Choose another name: STACK=…")
    if described and described["StackStatus"] not in UPDATABLE:
        raise DeployError(unfit(session.region_name, stack, described["StackStatus"]))
    if not (build / "template.yaml").exists():
        raise DeployError("Nothing is packaged yet: make deploy does both.")

    print(f"Uploading the code to account {account}, {session.region_name} ...", flush=True)
    code = upload(session, account, build)
    template = yaml.safe_load((build / "template.yaml").read_text())
    template["Resources"]["APIHandler"]["Properties"]["CodeUri"] = code
    request: dict[str, Any] = {
        "StackName": stack,
        "TemplateBody": json.dumps(template),
        "Parameters": [
            {"ParameterKey": name, "UsePreviousValue": True}
            if value is None
            else {"ParameterKey": name, "ParameterValue": value}
            for name, value in given.items()
            if described or value is not None
        ],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        # So that the same request, sent again where its answer was lost, is no second one.
        "ClientRequestToken": uuid4().hex,
    }
    begun = "update" if described else "create"
    pages = f", for pages of {origin}" if (origin := given.get("AllowedOrigin")) else ""
    print(f"The {begun} of the stack {stack} begins{pages} ...", flush=True)
    try:
        if begin(cloudformation, begun, request):
            wait(cloudformation, begun, session.region_name, stack)
        outputs = describe(cloudformation, stack)["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}
    except (BotoCoreError, ClientError, KeyboardInterrupt) as error:
        why = f"AWS is not to be had: {error}\n" if str(error) else ""
        raise DeployError(
            f"\n{why}The {begun} of the stack {stack} goes on, if it has begun. How far:\n"
            + aws("describe-stack-events", session.region_name, stack)
        ) from error


def begin(cloudformation: Any, begun: str, request: dict[str, Any]) -> bool:
    """Begin to create or update the stack; whether there is anything to do."""
    try:
        getattr(cloudformation, f"{begun}_stack")(**request)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            print("Nothing has changed.")
            return False
        raise DeployError(
            f"AWS refused: {error}\nThe stack is as it was; the code was uploaded."
        ) from error
    return True


def wait(cloudformation: Any, begun: str, region: str, stack: str) -> None:
    """Wait until it is done. Raises DeployError where the stack failed."""
    try:
        waiter = cloudformation.get_waiter(f"stack_{begun}_complete")
        waiter.wait(StackName=stack, WaiterConfig=WAITER)
    except WaiterError as error:
        # An answer that was refused says nothing of the stack.
        if "Error" in error.last_response:
            raise
        raise DeployError(failure(cloudformation, region, stack)) from error


def check(stack: str, given: dict[str, str | None]) -> None:
    """Refuse what CloudFormation would refuse, before anything is made."""
    declared = YAMLTemplateSerializer().load_template((ROOT / "resources.yaml").read_text())[
        "Parameters"
    ]
    if not re.fullmatch("[A-Za-z][A-Za-z0-9-]{0,127}", stack):
        raise DeployError(
            f"STACK is {stack!r}. It must be letters, digits and -, and begin with a letter."
        )
    for name, value in given.items():
        if value is not None and not re.fullmatch(declared[name]["AllowedPattern"], value):
            must_be = declared[name]["ConstraintDescription"]
            raise DeployError(f"{PARAMETERS[name]} is {value!r}. It must be {must_be}.")


def describe(cloudformation: Any, stack: str) -> dict[str, Any]:
    """What CloudFormation says of the stack, Parameters and Outputs too; {} where there is none."""
    try:
        [described] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    if described["StackStatus"] == "DELETE_COMPLETE":
        return {}
    return {"Parameters": [], "Outputs": [], **described}


def upload(session: boto3.Session, account: str, build: Path) -> str:
    """Put the zip into the account's bucket for code, under the hash of its bytes; its S3 URI.

    Raises DeployError.
    """
    s3 = session.client("s3")
    bucket = f"jobs-api-code-{account}-{session.region_name}"
    code = (build / "deployment.zip").read_bytes()
    key = f"{hashlib.sha256(code).hexdigest()}.zip"
    # us-east-1 is the one region that must not be named.
    where = {"LocationConstraint": session.region_name}
    in_region = {} if session.region_name == "us-east-1" else {"CreateBucketConfiguration": where}
    try:
        try:
            s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            s3.create_bucket(Bucket=bucket, **in_region)
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )
        s3.put_object(Bucket=bucket, Key=key, Body=code, ExpectedBucketOwner=account)
    except (BotoCoreError, ClientError, KeyboardInterrupt) as error:
        raise DeployError(
            f"The code was not uploaded: {str(error) or 'stopped'}\n"
            f"No stack was touched; the bucket {bucket} may have been made."
        ) from error
    return f"s3://{bucket}/{key}"


def unfit(region: str, stack: str, state: str) -> str:
    """What to do about a stack that cannot be deployed to now."""
    if state in NEVER_WHOLE:
        return (
            f"The stack {stack} has never been whole, or is not any more ({state}). Remove it, and "
            f"deploy again:\n{aws('delete-stack', region, stack)}"
        )
    if state.endswith("_IN_PROGRESS"):
        return f"The stack {stack} is busy ({state}). Wait until that has ended, and deploy again."
    # UPDATE_FAILED or UPDATE_ROLLBACK_FAILED.
    command = "rollback-stack" if state == "UPDATE_FAILED" else "continue-update-rollback"
    return (
        f"The stack {stack} is in the state {state}. Bring it back first:\n"
        f"{aws(command, region, stack)}"
    )


def failure(cloudformation: Any, region: str, stack: str) -> str:
    """What failed in the stack this time, what was left behind, and what to do."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = []
    for event in (event for page in pages for event in page["StackEvents"]):
        events.append(event)
        # The event with which the stack itself began is the oldest of this time.
        begun = event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
        if begun and event.get("ResourceType") == "AWS::CloudFormation::Stack":
            break
    reasons = [
        f"- {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(events)
        if "ResourceStatusReason" in event
        # A transform that fails is told of the stack, whatever its status then.
        and re.search(
            "FAILED|ROLLBACK| failed", f"{event['ResourceStatus']} {event['ResourceStatusReason']}"
        )
    ]
    kept = [
        f"- {event['LogicalResourceId']}: {event.get('PhysicalResourceId')}"
        for event in events
        if event["ResourceStatus"] == "DELETE_SKIPPED"
    ]
    state = describe(cloudformation, stack).get("StackStatus")
    lines = [f"The stack {stack} was not deployed (now {state}).", *reasons]
    if kept:
        lines += ["It has left these behind, which hold data or could:", *kept]
    if state and state not in UPDATABLE:
        lines.append(unfit(region, stack, state))
    return "\n".join(lines)


def aws(command: str, region: str, stack: str) -> str:
    """A command of the AWS CLI, to be pasted."""
    return f"aws cloudformation {command} --region {region} --stack-name {stack}"


if __name__ == "__main__":
    main()
