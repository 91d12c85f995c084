"""`make deploy`, onto the emulated AWS."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import ClientError

from dev.emulated_aws import emulated_aws
from dev.package import ROOT
from tests.support.commands import documented_commands, environment, inline_commands, uvx

PARAMETERS = yaml.safe_load((ROOT / "tests/stack/template.yaml").read_text())["Parameters"]
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


@pytest.mark.skipif(
    "CI" not in os.environ, reason="CI is not set: it downloads the SAM CLI, 450 MB"
)
def test_make_deploy_creates_a_stack_and_changes_only_what_is_given(tmp_path: Path) -> None:
    [command] = [c for c in documented_commands(ROOT / "docs/deploy.md") if c.startswith("make ")]
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

        both = {"AllowedOrigin": "https://app.example.com", "AlarmEmail": "ops@example.com"}
        assert deploy(*parameters) == both
        packaged = "--old-file=package"
        assert deploy(packaged, "ALARM_EMAIL=") == both | {"AlarmEmail": ""}
        assert deploy(packaged) == both | {"AlarmEmail": ""}
        [command] = [c for c in inline_commands(ROOT / "docs/deploy.md") if "sam delete -" in c]
        [version] = re.findall("^SAM_CLI := (.+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        delete = uvx(f"aws-sam-cli=={version}", *shlex.split(command), "--no-prompts")
        subprocess.run(delete, env=os.environ | environ, check=True)
        with pytest.raises(ClientError, match="does not exist"):
            cloudformation.describe_stacks(StackName="jobs-api")


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
