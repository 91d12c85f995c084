"""The documents' first call and recovery, pasted into a shell by an operator of the stack."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dev import verify
from dev.checks import ALICES, Case
from dev.emulated_aws import REGION, EmulatedAws, emulated_aws
from dev.package import ROOT
from tests.support.commands import AWS_CLI, blocks, needs_aws_cli, uvx
from tests.support.stack import STACK, deploy_stack

SERVICES = "apigateway,cloudformation,cognito-idp,dynamodb,iam,logs,s3"
DEPLOY, OPERATIONS = ROOT / "docs" / "deploy.md", ROOT / "docs" / "operations.md"

pytestmark = needs_aws_cli


class Operator(NamedTuple):
    """The stack, and a checkout of which only the packaged app is there."""

    aws: EmulatedAws
    build: Path
    case: Case
    folder: Path

    def paste(self, *lines: str) -> str:
        """The output of the lines in a shell."""
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), **self.aws.environ},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def wrap(self, name: str, command: str) -> None:
        """Put a command of this name into the PATH."""
        (self.folder / name).write_text(f"#!/bin/bash\n{command}\n")
        (self.folder / name).chmod(0o755)


@pytest.fixture(scope="module")
def operator(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "build").symlink_to(build)
    (folder / ".venv").symlink_to(sys.prefix)
    with (
        emulated_aws(tmp_path_factory.mktemp("operator"), SERVICES=SERVICES) as aws,
        pytest.MonkeyPatch.context() as environ,
    ):
        deploy_stack(aws, build, "*", "create")
        for name, value in aws.environ.items():
            environ.setenv(name, value)
        with verify.temporary_users(verify.find_stack(STACK, None)) as case:
            operator = Operator(aws, build, case, folder)
            operator.wrap("aws", f'exec {shlex.join(uvx(AWS_CLI, "aws"))} "$@"')
            # It is packaged.
            operator.wrap("make", "")
            yield operator


def test_the_first_call_lists_the_first_job(operator: Operator) -> None:
    # The stack's output names a host of AWS.
    url = operator.case.stack.url
    operator.wrap("curl", f'exec /usr/bin/curl "${{@/https:*.amazonaws.com\\/api/{url}}}"')
    call, frontend = blocks(DEPLOY, "## First call")
    listed, *values = operator.paste(call, "echo", frontend).splitlines()
    [job] = json.loads(listed)["jobs"]
    assert (job["job_id"], job["job_name"]) == (1, "First job")
    pool = operator.case.stack.pool
    assert values[0].startswith("API_URL=https://")
    assert values[1:] == [
        f"COGNITO_REGION={REGION}",
        f"COGNITO_USER_POOL_ID={pool.arn.rpartition('/')[2]}",
        f"COGNITO_CLIENT_ID={pool.client_id}",
    ]


def test_items_come_back_to_the_table_unless_their_files_are_gone(operator: Operator) -> None:
    case, table = operator.case, operator.case.stack.table
    output = blocks(DEPLOY, "## First call")[0].splitlines()[1]
    restore, put_back = blocks(OPERATIONS, "### Items of the table")
    # The emulator restores the items of now.
    operator.paste(output, restore)
    assert case("delete", job_id=1).status == 200
    keys = [{"userId": case.alice.id, "jobId": job_id} for job_id in (10, 11)]
    table.delete_item(Key=keys[0])
    new = {":new": "Changed since"}
    table.update_item(
        Key=keys[1], UpdateExpression="SET jobName = :new", ExpressionAttributeValues=new
    )
    operator.paste(output, restore.splitlines()[0], put_back)
    assert case.stack.job_ids(case.alice.id) == [10, 11]
    assert table.get_item(Key=keys[0])["Item"]["jobName"] == ALICES[10].name
    assert table.get_item(Key=keys[1])["Item"]["jobName"] == "Changed since"


def test_files_that_a_writer_deleted_come_back(operator: Operator) -> None:
    stack, prefix = operator.case.stack, f"{operator.case.bob.id}/11/"
    objects = stack.bucket.objects.filter(Prefix=prefix)
    before = {each.key for each in objects}
    for each in objects:
        each.delete()
    assert before
    assert not list(objects)
    [undelete] = blocks(OPERATIONS, "### Files that a writer deleted")
    operator.paste(f"bucket={stack.bucket.name} prefix={prefix}", undelete)
    assert {each.key for each in objects} == before


def test_a_stack_that_was_deleted_finds_its_data_after_an_import(operator: Operator) -> None:
    """It comes last: ministack gives the API another id."""
    aws, case, old = operator.aws, operator.case, operator.case.stack
    before = [case.stack.job_ids(user.id) for user in (case.alice, case.bob)]
    cloudformation = aws.client("cloudformation")
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK)
    [import_] = blocks(OPERATIONS, "### A stack that was deleted")
    pool_id = old.pool.arn.rpartition("/")[2]
    operator.paste(
        f"table={old.table.name} bucket={old.bucket.name} pool={pool_id}",
        f"client={old.pool.client_id}",
        import_,
    )
    [stack] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    assert stack["StackStatus"] == "IMPORT_COMPLETE"
    deploy_stack(aws, operator.build, "*", "update")
    new = verify.find_stack(STACK, None)
    assert new[2] == old.pool
    assert (new.table.name, new.bucket.name) == (old.table.name, old.bucket.name)
    # The old tokens.
    here = case._replace(stack=new)
    listed = [
        [job["job_id"] for job in here("list", user.tokens["IdToken"]).json["jobs"]]
        for user in (case.alice, case.bob)
    ]
    assert [sorted(each) for each in listed] == before != [[], []]
