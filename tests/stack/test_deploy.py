"""`make deploy`, onto the emulated AWS."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from dev.emulated_aws import emulated_aws
from dev.package import BUILD, ROOT
from tests.support.commands import (
    AWS_CLI,
    documented_commands,
    environment,
    inline_commands,
    needs_sam,
    run_sam,
    uvx,
)
from tests.support.stack import TEMPLATE

PARAMETERS = TEMPLATE["Parameters"]
# make's names of the parameters: ALARM_EMAIL for AlarmEmail.
SETTINGS = {re.sub("(?!^)(?=[A-Z])", "_", name).upper(): name for name in PARAMETERS}


def make_deploy(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    ours = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "MAKE", "MFLAGS"))}
    return subprocess.run(
        [shutil.which("make") or "make", "deploy", *arguments],
        cwd=ROOT,
        env=ours | environ,
        capture_output=True,
        text=True,
        check=False,
    )


DEPLOY = ROOT / "docs" / "deploy.md"


@needs_sam
def test_make_deploy_creates_a_stack_and_changes_only_what_is_given(tmp_path: Path) -> None:
    [command] = [c for c in documented_commands(DEPLOY) if c.startswith("make ")]
    region, *parameters = shlex.split(command)[2:]
    with emulated_aws(tmp_path, SERVICES="cloudformation,s3") as aws:
        cloudformation = aws.client("cloudformation")
        # The stack is where the argument says.
        environ = aws.environ | {"AWS_REGION": "eu-west-1", "SAM_CLI_POLL_DELAY": "0.5"}

        def deploy(*arguments: str) -> dict[str, str]:
            done = make_deploy(*environment(sys.prefix), region, *arguments, **environ)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "UserPoolClientId" in done.stdout
            [stack] = cloudformation.describe_stacks(StackName="jobs-api")["Stacks"]
            return {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}

        expected = {name: str(parameter["Default"]) for name, parameter in PARAMETERS.items()}
        expected |= {"AllowedOrigin": "https://app.example.com", "AlarmEmail": "ops@example.com"}
        assert deploy(*parameters) == expected
        packaged = "--old-file=package"
        expected |= {"AlarmEmail": "", "UrlExpirySeconds": "60"}
        assert deploy(packaged, "ALARM_EMAIL=", "URL_EXPIRY_SECONDS=60") == expected
        assert deploy(packaged) == expected


@needs_sam
def test_a_stack_is_removed_with_its_data_and_an_update_of_another_one_still_rolls_back(
    tmp_path: Path,
) -> None:
    with emulated_aws(tmp_path, SERVICES="cloudformation,cognito-idp,dynamodb,s3") as aws:
        cloudformation, s3 = aws.client("cloudformation"), aws.client("s3")
        environ = aws.environ | {"SAM_CLI_POLL_DELAY": "0.5"}
        for arguments in ([], ["--old-file=package", "STACK=staging"]):
            done = make_deploy(*environment(sys.prefix), *arguments, **environ)
            assert done.returncode == 0, done.stdout + done.stderr
        [stack] = cloudformation.describe_stacks(StackName="jobs-api")["Stacks"]
        names = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        # Two versions, and a delete marker.
        for _ in range(2):
            s3.put_object(Bucket=names["JobFilesBucketName"], Key="a.png")
        s3.delete_object(Bucket=names["JobFilesBucketName"], Key="a.png")
        [delete] = [c for c in inline_commands(DEPLOY) if c.startswith("sam delete ")]
        run_sam(f"{delete} --no-prompts", ROOT, environ)
        with pytest.raises(ClientError, match="does not exist"):
            cloudformation.describe_stacks(StackName="jobs-api")
        template = cloudformation.get_template(StackName="staging", TemplateStage="Original")
        [code] = re.findall(r"CodeUri: s3://([^/]+)/(\S+)", template["TemplateBody"])
        # An update to other code, which then fails at the stage: the rollback reads the old code.
        s3.upload_file(str(BUILD / "deployment.zip"), code[0], "other")
        body = template["TemplateBody"].replace(code[1], "other").replace("Ref: BurstLimit", "many")
        capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
        cloudformation.update_stack(
            StackName="staging", TemplateBody=body, Capabilities=capabilities
        )
        waiter = cloudformation.get_waiter("stack_rollback_complete")
        waiter.wait(StackName="staging", WaiterConfig={"Delay": 1})

        def left() -> set[str]:
            pools = aws.client("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]
            found = {pool["Id"] for pool in pools}
            found |= {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
            found |= {*aws.client("dynamodb").list_tables()["TableNames"]}
            return found & {*names.values()}

        assert len(left()) == 3
        commands = "\n".join(documented_commands(DEPLOY))
        commands = commands[commands.index("aws dynamodb ") :]
        for command in commands.splitlines()[:6]:
            program, *rest = shlex.split(re.sub("<(\\w+)>", lambda name: names[name[1]], command))
            run = uvx(AWS_CLI, "aws") if program == "aws" else [sys.executable]
            subprocess.run([*run, *rest], env=os.environ | environ, check=True)
        assert not left()


@needs_sam
def test_what_sam_deploy_asked_for_is_what_the_next_one_does(build: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(build, project / "build")
    shutil.copy(ROOT / "samconfig.toml", project)
    with emulated_aws(tmp_path, SERVICES="cloudformation,s3,sts") as aws:
        environ = aws.environ | {"SAM_CLI_POLL_DELAY": "0.5"}
        [guided] = [c for c in inline_commands(DEPLOY) if c.startswith("sam deploy --guided ")]
        # The stack's name; else what is proposed.
        run_sam(guided.replace("$PWD", str(project)), project, environ, "staging" + "\n" * 20)
        run_sam("sam deploy", project, environ)
        stacks = aws.client("cloudformation").list_stacks()["StackSummaries"]
        names = {stack["StackName"] for stack in stacks}
    assert names == {"aws-sam-cli-managed-default", "staging"}


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        ([], ["deploy"]),
        (["STACK=", "REGION="], ["deploy"]),
        (
            ["STACK=a", "REGION=b"],
            ["deploy", "--stack-name", "a", "--s3-prefix", "a", "--region", "b"],
        ),
        (["ALARM_EMAIL="], ["deploy", "--parameter-overrides", 'AlarmEmail=""']),
        (
            ["ALLOWED_ORIGIN=*", "ALARM_EMAIL=a@b.c"],
            ["deploy", "--parameter-overrides", 'AllowedOrigin="*" AlarmEmail="a@b.c"'],
        ),
        *(
            ([f"{variable}=7"], ["deploy", "--parameter-overrides", f'{name}="7"'])
            for variable, name in SETTINGS.items()
        ),
    ],
)
def test_make_deploy_passes_on_what_is_given(
    arguments: list[str], passed_on: list[str], tmp_path: Path
) -> None:
    sam = tmp_path / "sam"
    sam.write_text('#!/bin/sh\n[ "$1" = --version ] || printf "<%s>\\n" "$@"\n')
    sam.chmod(0o755)
    # What the shell says, which `make run` heeds, is not for a stack.
    environ = dict.fromkeys(SETTINGS, "DEBUG") | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = make_deploy(*environment(tmp_path), "--old-file=package", *arguments, **environ)
    assert done.stdout.splitlines() == [f"<{argument}>" for argument in passed_on]


def test_make_deploy_says_what_to_do_without_the_sam_cli(tmp_path: Path) -> None:
    for name in ("python", "uvx"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        # Packaging works, uvx does not.
        program.write_text(f"#!/bin/sh\nexit {int(name == 'uvx')}\n")
        program.chmod(0o755)
    done = make_deploy(*environment(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 2
    assert "There is no sam in the PATH, and uvx could not install it. Install" in done.stderr
