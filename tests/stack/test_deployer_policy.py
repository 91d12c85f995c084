"""docs/deployer-policy.json: what it allows is what a deployment needs.

The emulated AWS checks the requests of the SAM CLI. For the resources, which CloudFormation makes
with the deployer's permissions, the actions are those of CloudFormation's registry.
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest
import yaml

from dev.emulated_aws import REGION, emulated_aws
from dev.package import ROOT
from tests.support.commands import needs_sam, run_sam
from tests.support.stack import TEMPLATE

POLICY: Any = json.loads((ROOT / "docs" / "deployer-policy.json").read_text())
ALLOWED = {statement["Sid"]: statement["Action"] for statement in POLICY["Statement"]}
# What SAM makes of its own resources.
TRANSLATED = {
    "AWS::Serverless::Function": ["AWS::Lambda::Function"],
    "AWS::Serverless::Api": [f"AWS::ApiGateway::{n}" for n in ("RestApi", "Deployment", "Stage")],
}
# Permissions for what no resource of the stack has, such as keys of one's own, a VPC or replicas.
OTHER_FEATURES = re.compile(
    r"^(ec2|elasticfilesystem|firehose|kinesis|kms|s3files|s3tables):|CreateServiceLinkedRole"
    r"|RestApiPolicy|AttachRolePolicy|PermissionsBoundary"
    r"|BatchWriteItem|(Delete|Get|Put|Update)Item|Query|Scan|ImportTable|GetObject(Metadata|Version)"
    r"|dynamodb:.*Replica|(Dis|En)ableKinesis|UpdateKinesis|UpdateContributor|UpdateTimeToLive"
    r"|(Delete|Put)(Resource|Index)Policy|PutDataProtectionPolicy"
    r"|RuntimeAlias|CapacityProvider|(Delete|Put)Function(Code|Conc)|Put(Function|Runtime)|PublishVersion"
    r"|CreateLogStream|PutLogEvents|LogDelivery|BearerToken|KmsKey|DeleteRetention|REST|LogGroupDel"
    r"|s3:(Create|Delete|Put|Update).*(Abac|Acc?elerate|Acl|Analytics|Intelligent|Inventory|Logging"
    r"|Metadata|Metrics|Notification|ObjectLock|Replication|Website)"
    r"|DeleteBucket(Cors|Encryption|Lifecycle)"
)


def permissions(resource: Any) -> set[str]:
    """What CloudFormation's registry says that the handlers of a resource need."""
    # Here, because every process of a run imports this module, and this takes two seconds.
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    found: set[str] = set()
    for name in TRANSLATED.get(resource["Type"], [resource["Type"]]):
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, name).schema["handlers"]
        for operation in ("create", "read", "update", "delete"):
            if operation != "delete" or resource.get("DeletionPolicy") != "Retain":
                found.update(handlers.get(operation, {}).get("permissions", []))
    return found


def test_the_policy_allows_what_the_stacks_resources_need_and_no_more() -> None:
    listed = set().union(*map(permissions, TEMPLATE["Resources"].values()))
    needed = {action for action in listed if not OTHER_FEATURES.search(action)}
    by_sam = ("cloudformation:", "s3:PutObject")
    patterns = [
        action
        for sid in ("Code", "ResourcesByName", "ResourcesById", "AnyResource", "PassRole")
        for action in ALLOWED[sid]
        if not action.startswith(by_sam)
    ]
    allowed = {a for a in listed if any(fnmatchcase(a, pattern) for pattern in patterns)}
    assert allowed == needed
    for pattern in patterns:
        assert any(fnmatchcase(action, pattern) for action in needed), pattern


def test_the_workflow_deploys_stacks_that_the_policy_is_for_production_last() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    [workflow] = re.findall(r"```yaml\n(name: Deploy.+?)```", text, re.DOTALL)
    jobs = yaml.safe_load(workflow)["jobs"]
    assert [job.get("needs") for job in jobs.values()] == [None, "test", "staging"]
    stacks = re.findall(r"make (?:deploy|verify) STACK=(\S+)", workflow)
    arns = POLICY["Statement"][0]["Resource"]
    for stack in stacks:
        arn = f"arn:aws:cloudformation:{REGION}:123456789012:stack/{stack}/id"
        assert any(fnmatchcase(arn, pattern) for pattern in arns)
    assert stacks == ["jobs-api-staging", "jobs-api-staging", "jobs-api"]
    # The versions that CI uses.
    ci = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    [checkout] = set(re.findall(r"actions/checkout@\S+", workflow))
    assert checkout in ci


@needs_sam
def test_with_the_policy_the_sam_cli_deploys_updates_and_removes_a_stack(
    build: Path, tmp_path: Path
) -> None:
    with emulated_aws(tmp_path, AUTH="true", SERVICES="cloudformation,iam,s3") as aws:
        iam, s3 = aws.client("iam"), aws.client("s3")
        iam.create_user(UserName="deployer")
        iam.put_user_policy(
            UserName="deployer", PolicyName="deployer", PolicyDocument=json.dumps(POLICY)
        )
        key = iam.create_access_key(UserName="deployer")["AccessKey"]
        environ = aws.environ | {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        # The bucket that SAM makes first refuses plain HTTP, which is all that the emulator speaks.
        with pytest.raises(CalledProcessError):
            run_sam("sam deploy", ROOT, environ)
        for bucket in s3.list_buckets()["Buckets"]:
            s3.delete_bucket_policy(Bucket=bucket["Name"])
        for command in ("deploy", "deploy --parameter-overrides LogLevel=DEBUG"):
            run_sam(f"sam {command}", ROOT, environ)
        run_sam(f"sam delete --stack-name jobs-api --region {REGION} --no-prompts", ROOT, environ)
