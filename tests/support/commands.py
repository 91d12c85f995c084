"""Commands: those that the documents show, and how the tests run some of them."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

BIN = Path(sys.executable).parent
AWS_CLI = "awscli==1.46.3"
LOCUST = "locust==2.47.0"
CALLERS = 8

needs_sam = pytest.mark.skipif(
    "CI" not in os.environ, reason="CI is not set: it downloads the SAM CLI, 450 MB"
)
needs_aws_cli = pytest.mark.skipif(
    "CI" not in os.environ, reason="CI is not set: it downloads the AWS CLI, 25 MB"
)


def documented_commands(document: Path) -> list[str]:
    """The commands in a document's fenced blocks: after a prompt, if the block has one."""
    fenced = re.compile(r"^ *(```|~~~)(\w*)\n(.*?)^ *\1", re.DOTALL | re.MULTILINE)
    lines: list[str] = []
    for _, language, block in fenced.findall(document.read_text()):
        if language not in ("html", "js", "json", "mermaid", "ts", "tsx", "yaml"):
            typed = re.findall(r"^\$ (.+)", block, re.MULTILINE) or block.splitlines()
            lines += [line.partition("  #")[0].rstrip() for line in typed if line]
    return lines


def inline_commands(document: Path) -> list[str]:
    """The commands in a document's sentences that have an argument, not only a subcommand."""
    text = re.sub("```.*?```", "", document.read_text(), flags=re.DOTALL)
    return re.findall(r"`((?:aws|chalice|make|npx|rm|sam|\.venv/bin/\w+) [^`\s]+ [^`]+)`", text)


def blocks(document: Path, heading: str) -> list[str]:
    """The fenced blocks without a language below a heading, up to the next one."""
    section = document.read_text().split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall("^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def environment(folder: Path | str) -> list[str]:
    """Arguments of make: this virtual environment, even if the Makefile did not make it."""
    # The Makefile's own is relative to the checkout, whose path may have a space.
    folder = Path(folder)
    folder = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return [f"VENV={folder}", f"--old-file={folder}/installed"]


def find(command: str, package: str) -> str:
    """The path of a command; a test without it is skipped, or fails with CI set."""
    if found := shutil.which(command):
        return found
    reason = f"{command} is missing. Debian: apt-get install {package}"
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def shell(command: str, folder: Path) -> None:
    """Run the command in the folder; a failure shows what it has printed."""
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def uvx(package: str, *command: str) -> list[str]:
    """The command, of a package in an environment of its own, as its dependencies are many."""
    options = ["--quiet", "--system-certs", "--python", str(BIN / "python"), "--from", package]
    return [str(BIN / "uvx"), *options, *command]


def run_sam(command: str, cwd: Path, environ: dict[str, str], answers: str = "") -> None:
    """A command of the SAM CLI, in the version that the Makefile names."""
    [version] = re.findall("^SAM_CLI := (.+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    subprocess.run(
        uvx(f"aws-sam-cli=={version}", *shlex.split(command)),
        cwd=cwd,
        env=os.environ | environ | {"SAM_CLI_TELEMETRY": "0"},
        input=answers,
        text=True,
        check=True,
    )


def load(url: str, tokens: dict[str, str], seconds: int, folder: Path) -> set[str]:
    """Call all routes below the URL by locust; each "<route> <status>" that came back.

    tokens: a user's id to their ID token. Prints throughput, percentiles and errors, and fails if
    any response is wrong (locustfile.py).
    """
    command = uvx(LOCUST, "locust", "--locustfile", str(Path(__file__).parent / "locustfile.py"))
    command += ["--headless", "--only-summary", "--host", url]
    command += ["--users", str(CALLERS), "--spawn-rate", str(CALLERS), "--run-time", str(seconds)]
    command += ["--csv", str(folder / "load")]
    environ = os.environ | {"JOBS_API_TOKENS": json.dumps(tokens)}
    assert subprocess.run(command, env=environ).returncode == 0
    with (folder / "load_stats.csv").open() as lines:
        return {line["Name"] for line in csv.DictReader(lines)}
