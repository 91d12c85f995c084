"""`make deploy`: the packaged stack onto AWS, by CloudFormation, and the outputs printed.

REGION, STACK, ALLOWED_ORIGIN and ALARM_EMAIL are read from the environment. What is not given
stays as it is in a stack that exists.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    UnknownRegionError,
    WaiterError,
)

from dev.package import BUILD

PARAMETERS = {"AllowedOrigin": "ALLOWED_ORIGIN", "AlarmEmail": "ALARM_EMAIL"}
# A state in which CloudFormation takes a new version of a stack.
UPDATABLE = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}


class DeployError(Exception):
    """Why it was not deployed, and what to do."""


def main() -> None:
    """Deploy build/, or end with a message that says what to do."""
    stack = os.environ.get("STACK") or "jobs-api"
    try:
        session = boto3.Session(region_name=os.environ.get("REGION") or None)
        if not session.region_name:
            raise DeployError("No region is named. Name one: make deploy REGION=eu-central-1")
        session.get_partition_for_region(session.region_name)
        outputs = deploy(
            session, stack, {p: os.environ.get(v) or None for p, v in PARAMETERS.items()}
        )
    except DeployError as error:
        sys.exit(str(error))
    except UnknownRegionError:
        sys.exit(f"{session.region_name} is no region of AWS. One is eu-central-1.")
    except NoCredentialsError:
        sys.exit("There are no AWS credentials. Run `aws configure`, or set AWS_PROFILE.")
    except EndpointConnectionError as error:
        sys.exit(f"AWS does not answer: {error} Is REGION right, and the network up?")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS refused: {error}\nAre the credentials in force, and may they do this?")
    for name, value in sorted(outputs.items()):
        print(f"{name}: {value}")


def deploy(
    session: boto3.Session, stack: str, given: dict[str, str | None], build: Path = BUILD
) -> dict[str, str]:
    """Create or update the stack from the folder `build`; its outputs.

    given: values of the template's parameters, None where none was given.
    Raises DeployError, and botocore's errors.
    """
    account = session.client("sts").get_caller_identity()["Account"]
    cloudformation = session.client("cloudformation")
    state = stack_state(cloudformation, stack)
    if state and state not in UPDATABLE:
        raise DeployError(unfit(stack, state))

    print(f"Uploading the code to account {account}, {session.region_name} ...", flush=True)
    template = json.loads((build / "template.json").read_text())
    template["Resources"]["APIHandler"]["Properties"]["CodeUri"] = upload(session, account, build)
    parameters: list[Any] = [
        {"ParameterKey": name, "ParameterValue": value}
        if value is not None
        else {"ParameterKey": name, "UsePreviousValue": True}
        for name, value in given.items()
        if state or value is not None
    ]
    request = {
        "StackName": stack,
        "TemplateBody": json.dumps(template),
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    print(f"{'Updating' if state else 'Creating'} the stack {stack} ...", flush=True)
    try:
        if state:
            cloudformation.update_stack(**request)
        else:
            cloudformation.create_stack(**request)
        waiter = "stack_update_complete" if state else "stack_create_complete"
        cloudformation.get_waiter(waiter).wait(StackName=stack, WaiterConfig={"Delay": 3})
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        print("Nothing has changed.")
    except WaiterError as error:
        raise DeployError(failure(cloudformation, stack)) from error
    [described] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def stack_state(cloudformation: Any, stack: str) -> str | None:
    """The stack's status, or None where there is none."""
    try:
        [described] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    status: str = described["StackStatus"]
    return None if status == "DELETE_COMPLETE" else status


def upload(session: boto3.Session, account: str, build: Path) -> str:
    """Put the zip into the account's bucket for code, under the hash of its bytes; its S3 URI."""
    s3 = session.client("s3")
    bucket = f"jobs-api-code-{account}-{session.region_name}"
    where = {"LocationConstraint": session.region_name}
    try:
        # us-east-1 is the one region that must not be named.
        in_region = (
            {} if session.region_name == "us-east-1" else {"CreateBucketConfiguration": where}
        )
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
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    code = (build / "deployment.zip").read_bytes()
    key = f"{hashlib.sha256(code).hexdigest()}.zip"
    s3.put_object(Bucket=bucket, Key=key, Body=code, ExpectedBucketOwner=account)
    return f"s3://{bucket}/{key}"


def unfit(stack: str, state: str) -> str:
    """What to do about a stack that cannot be deployed to now."""
    if state.endswith("_IN_PROGRESS"):
        return f"The stack {stack} is busy ({state}). Wait until that has ended, and deploy again."
    if state in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        return (
            f"The stack {stack} has never been whole ({state}). Remove it, and deploy again:\n"
            f"aws cloudformation delete-stack --stack-name {stack}"
        )
    return (
        f"The stack {stack} is in the state {state}. Bring it back first:\n"
        f"aws cloudformation continue-update-rollback --stack-name {stack}"
    )


def failure(cloudformation: Any, stack: str) -> str:
    """What failed in the stack, what was left behind, and what to do."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    reasons = [
        f"- {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    kept = [
        f"- {event['LogicalResourceId']}: {event.get('PhysicalResourceId')}"
        for event in events
        if event["ResourceStatus"] == "DELETE_SKIPPED"
    ]
    state = stack_state(cloudformation, stack)
    lines = [f"The stack {stack} was not deployed (now {state}).", *reasons]
    if kept:
        lines += ["It has left these behind, which hold data or could:", *kept]
    if state and state not in UPDATABLE:
        lines.append(unfit(stack, state))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
