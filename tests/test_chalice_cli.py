"""Chalice's own commands, typed in a fresh copy of the project, in a shell without variables."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import yaml

from dev.demo import JOB_TO_DELETE
from dev.package import ROOT
from dev.processes import free_port
from tests.support.commands import inline_commands
from tests.support.events import ENVIRON
from tests.support.scripted_server import HANG_UP, Scripted, scripted_server
from tests.test_run import HOSTILE, REFUSED, children, is_alive, paste, run_code

CHALICE = Path(sys.executable).parent / "chalice"
START_SECONDS = 60
RESTARTING = "Restarting local dev server"
slow = pytest.mark.skipif("CI" not in os.environ, reason="takes half a minute: only with CI set")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files without what git ignores."""
    folder = tmp_path / "project"
    for name in (".chalice", "chalicelib", "dev"):
        ignored = shutil.ignore_patterns("__pycache__", "deployments")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("app.py", "requirements.txt", "resources.yaml"):
        shutil.copy(ROOT / name, folder)
    return folder


def environ(copy: Path, **variables: str) -> dict[str, str]:
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(copy.parent)}
    return {"PATH": os.environ["PATH"], **nothing, **variables}


def run(copy: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHALICE, *arguments],
        cwd=copy,
        env=environ(copy, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode != 0
    [line] = done.stderr.strip().splitlines()
    assert message in line


@pytest.mark.parametrize("command", [["deploy"], ["package", "out"]])
def test_stage_dev_is_not_deployed(command: list[str], copy: Path) -> None:
    done = run(copy, *command)
    assert_one_line(done, f"Use chalice {command[0]} --stage prod, or make deploy")


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (["deploy"], "config.json"),
        (["package", "out"], "policy-prod.json"),
        (["package", "--pkg-format", "terraform", "out"], "config.json"),
    ],
)
def test_stage_prod_is_refused_until_it_is_filled_in(
    command: list[str], left: str, copy: Path
) -> None:
    for path in (copy / ".chalice").iterdir():
        if path.name != left:
            path.write_text(path.read_text().replace("FILL IN", "filled in"))
    done = run(copy, *command, "--stage", "prod", AWS_DEFAULT_REGION="eu-central-1")
    assert_one_line(done, f".chalice/{left} still says FILL IN.")


def fill_in(copy: Path) -> None:
    for path in (copy / ".chalice").iterdir():
        path.write_text(path.read_text().replace("FILL IN", "filled in"))
    config = copy / ".chalice" / "config.json"
    stage = json.loads(config.read_text())
    stage["stages"]["prod"]["environment_variables"] |= {
        name: ENVIRON[name] for name in ("USER_POOL_ARN", "JOB_REQUESTS_TABLE", "JOB_FILES_BUCKET")
    }
    config.write_text(json.dumps(stage))


MERGE = ["package", "--merge-template", "resources.yaml", "out"]


@pytest.mark.parametrize("command", [["deploy"], ["package", "out"], MERGE])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory."),
        ("{", "is not valid JSON: Expecting property name"),
    ],
    ids=["missing", "broken"],
)
def test_a_policy_that_cannot_be_read_is_said_in_one_line(
    content: str | None, reason: str, command: list[str], copy: Path
) -> None:
    fill_in(copy)
    policy = copy / ".chalice" / "policy-prod.json"
    policy.unlink()
    if content:
        policy.write_text(content)
    done = run(copy, *command, "--stage", "prod", AWS_REGION="eu-central-1")
    assert_one_line(done, f".chalice/policy-prod.json {reason}")


@pytest.mark.parametrize("command", [["local", "--no-autoreload"], ["deploy"], ["package", "out"]])
def test_a_stage_that_does_not_exist_is_said_in_one_line(command: list[str], copy: Path) -> None:
    done = run(copy, *command, "--stage", "nosuch")
    assert_one_line(done, "Stage nosuch does not exist. .chalice/config.json has: dev, prod.")


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        ("nope.yaml", ["out"], "nope.yaml cannot be read: No such file or directory."),
        ("chalicelib", ["out"], "chalicelib cannot be read: Is a directory."),
        ("app.py", ["out"], "Expected app.py to be valid JSON template."),
        ("open.yml", ["out"], "open.yml is not valid YAML: while parsing a flow mapping"),
        ("text.yaml", ["out"], "text.yaml is not a CloudFormation template."),
        ("resources.yaml", ["app.py"], "app.py must be a folder, or a name where"),
        ("resources.yaml", ["app.py/out"], "app.py/out must be a folder, or a name where"),
        ("resources.yaml", ["--single-file", "dev"], "dev must be a file in an existing folder"),
        ("resources.yaml", ["--single-file", "out/zip"], "zip must be a file in an existing"),
    ],
)
def test_a_file_that_package_cannot_use_is_said_in_one_line(
    template: str, options: list[str], message: str, copy: Path
) -> None:
    (copy / "open.yml").write_text("{a: 1")
    (copy / "text.yaml").write_text("text")
    command = ["package", "--stage", "prod", "--merge-template", template, *options]
    assert_one_line(run(copy, *command, AWS_REGION="eu-central-1"), message)
    assert not (copy / "out").exists()


def test_package_says_in_one_line_that_there_is_no_region(copy: Path) -> None:
    done = run(copy, *MERGE, "--stage", "prod")
    assert_one_line(done, "There is no AWS region. Set AWS_REGION.")
    assert not (copy / "out").exists()


@slow
def test_chalice_package_gives_the_template_of_make_package(copy: Path, build: Path) -> None:
    """AWS_REGION alone is enough."""
    [command] = [c for c in inline_commands(ROOT / "docs/deploy.md") if " --merge-template " in c]
    done = run(copy, *shlex.split(command)[1:], AWS_REGION="eu-central-1")
    assert done.returncode == 0, done.stderr
    packaged, expected = copy / "OUT" / "sam.yaml", build / "template.yaml"
    assert yaml.safe_load(packaged.read_text()) == yaml.safe_load(expected.read_text())


EXPIRED = (
    "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>Old</Message></Error></ErrorResponse>"
)


@pytest.mark.parametrize(
    ("answer", "region", "message"),
    [
        (
            Scripted(403, EXPIRED),
            "eu-central-1",
            "(ExpiredToken) when calling the GetCallerIdentity",
        ),
        (Scripted(HANG_UP), "eu-central-1", "Connection was closed before we received a valid"),
        (Scripted(200), "", "There is no AWS region. Set AWS_REGION."),
    ],
)
def test_chalice_deploy_says_in_one_line_why_aws_refuses(
    answer: Scripted, region: str, message: str, copy: Path
) -> None:
    fill_in(copy)
    with scripted_server(answer) as aws:
        variables = {"AWS_REGION": region, "AWS_ENDPOINT_URL": aws.url}
        done = run(copy, "deploy", "--stage", "prod", **{**ENVIRON, **variables})
    assert_one_line(done, message)


@pytest.mark.parametrize(
    ("variables", "message", "reloader"),
    [
        ({"USER_POOL_ARN": "x"}, "USER_POOL_ARN is 'x'. It must be the ARN of", True),
        ({"JOB_FILES_BUCKET": ""}, "JOB_FILES_BUCKET is not set. It must be the name of", False),
        ({"AWS_REGION": ""}, "AWS_REGION is not set, and no AWS profile names a region.", False),
        (
            {"AWS_ACCESS_KEY_ID": ""},
            "There are no AWS credentials. Set AWS_ACCESS_KEY_ID and",
            False,
        ),
        ({"AWS_REGION": "", "AWS_PROFILE": "nope"}, "The config profile (nope) could not be", True),
        ({"AWS_REGION": "", "AWS_CONFIG_FILE": __file__}, "Unable to parse config file", False),
    ],
)
def test_chalice_local_says_what_is_wrong_in_one_line(
    variables: dict[str, str], message: str, reloader: bool, copy: Path
) -> None:
    options = ["--port", str(free_port()), *([] if reloader else ["--no-autoreload"])]
    done = run(copy, "local", *options, **ENVIRON | variables)
    assert_one_line(done, message)


def test_a_taken_port_is_said_in_one_line(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(copy, "local", "--port", str(port))
    assert_one_line(done, f"Port {port} is taken. Choose another one: chalice local --port 8001")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--port", "0"],
            "Port 0 does not exist: it must be from 1 to 65535. Choose another",
        ),
        (["--host", "203.0.113.7"], "cannot be used ([Errno 99] Cannot assign requested address)."),
    ],
)
def test_a_port_that_cannot_be_used_is_said_in_one_line(
    options: list[str], message: str, copy: Path
) -> None:
    assert_one_line(run(copy, "local", "--no-autoreload", *options), message)


@contextmanager
def local(copy: Path, log: Path, port: int, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`chalice local` in the copy, its output in the log, ended by SIGTERM."""
    # Chalice's own watcher runs until app.py is loaded, and may find that file's new bytecode.
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [CHALICE, "local", "--port", str(port)],
            cwd=copy,
            env=environ(copy, **variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@slow
def test_chalice_local_serves_demo_data_reloads_and_ends(copy: Path, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    with local(copy, log, port, **HOSTILE) as process:
        lines = wait_for_start(log)
        assert log.read_text().startswith("ready: ")
        assert lines[0] == f"ready: http://127.0.0.1:{port}"
        listed, job, url, deleted = call(lines)
        deleted_job = f'"job_id":{JOB_TO_DELETE},'
        assert deleted_job in listed
        assert '"results":{"' in job
        assert url.startswith('{"url":"http://127.0.0.1:')
        assert deleted == '{"message":"Ok"}'
        assert deleted_job not in call(lines)[0]
        [worker, emulator] = children(process.pid)
        change(copy, "Changed once")
        # A second change, while the emulated AWS starts for the first.
        wait_until(lambda: len(set(children(process.pid)) - {worker, emulator}) == 2)
        change(copy, "Changed twice")
        wait_until(lambda: "Changed twice" in paste(wait_for_start(log)[1]))
        lines = wait_for_start(log)
        assert deleted_job in paste(lines[1])
        started = children(process.pid)
        assert len(started) == 2
        token = Path(lines[1].partition("$(cat ")[2].partition(")")[0])
        assert token.exists()
    wait_until(lambda: not any(map(is_alive, started)) and not token.parent.exists())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_emulated_aws_of_chalice_local_refuses_to_run_code(copy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with local(copy, log, free_port()):
        [aws] = re.findall(r'"url":"(http://127.0.0.1:\d+)/', call(wait_for_start(log))[2])
        assert run_code(aws) == REFUSED


LEFT_BEHIND = [
    ".app.py.swp",
    ".coverage",
    ".git/index",
    ".pytest_cache/v/cache/lastfailed",
    ".venv/lib/module.py",
    "#app.py#",
    "4913",
    "__pycache__/app.cpython-311.pyc",
    "app.py~",
    "build/deployment.zip",
    "node_modules/module/index.js",
    "test.log",
    ".chalice/.config.json.swp",
    ".chalice/config.json~",
    ".chalice/deployed/prod.json",
    "chalicelib/.DS_Store",
    "chalicelib/.ipynb_checkpoints/jobs.py",
    "chalicelib/.jobs.py.swp",
    "chalicelib/#jobs.py#",
    "chalicelib/4913",
    "chalicelib/__pycache__/jobs.cpython-311.pyc",
    "chalicelib/jobs.py.bak",
    "chalicelib/jobs.py.orig",
    "chalicelib/jobs.py.rej",
    "chalicelib/jobs.py.tmp",
    "chalicelib/jobs.py~",
    "chalicelib/jobs.pyc",
    "dev/.#run.py",
    "dev/.run.py.swp",
    "dev/4913",
    "dev/__pycache__/run.cpython-311.pyc",
    "dev/run.py~",
    # What is part of the project, but not loaded.
    "Makefile",
    "README.md",
    "bench/run.py",
    "dev/page/page.js",
    "docs/deploy.md",
    "openapi.yaml",
    "requirements.txt",
    "tests/test_run.py",
]


def test_what_people_and_tools_leave_in_the_project_does_not_restart_it(copy: Path) -> None:
    # What `chalice local > run.log` logs is written into the project too.
    log, port = copy / "run.log", free_port()
    with local(copy, log, port, **ENVIRON) as process:
        wait_for_serving(log, 1)
        [worker] = children(process.pid)
        for do in (write, write, Path.unlink):
            for name in LEFT_BEHIND:
                do(copy / name)
            # Longer than it takes to notice a change.
            for _ in range(15):
                assert urllib3.request("GET", f"http://127.0.0.1:{port}/jobs/list").status == 401
                time.sleep(0.1)
        assert children(process.pid) == [worker]
        change(copy, "Changed once")
        wait_for_serving(log, 2)
        [line] = [line for line in log.read_text().splitlines() if RESTARTING in line]
        assert line == f"{RESTARTING}: chalicelib/jobs.py changed."


LOADED = [
    "app.py",
    "chalicelib/jobs.py",
    "chalicelib/new.py",
    "chalicelib/new/__init__.py",
    "chalicelib/new/words.txt",
    "chalicelib/VERSION",
    "dev/demo.py",
    "dev/new.py",
    ".chalice/config.json",
    "resources.yaml",
]


@slow
def test_a_change_of_each_kind_of_loaded_file_restarts_it_and_is_logged(
    copy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    changes = [(write, name) for name in LOADED] + [(Path.unlink, "chalicelib/VERSION")]
    with local(copy, log, free_port(), **ENVIRON):
        for number, (do, name) in enumerate(changes, start=1):
            wait_for_serving(log, number)
            do(copy / name)
        wait_for_serving(log, len(changes) + 1)
    restarts = [line for line in log.read_text().splitlines() if RESTARTING in line]
    assert restarts == [f"{RESTARTING}: {name} changed." for _, name in changes]


def write(path: Path) -> None:
    """Create the file, or change it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\n")


def change(copy: Path, meaning: str) -> None:
    """Change what the API says of a status that it does not know."""
    source = copy / "chalicelib" / "jobs.py"
    source.write_text(re.sub("Unknown status|Changed once", meaning, source.read_text()))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_serving(log: Path, times: int) -> None:
    """Wait until it accepts connections, after so many starts."""
    wait_until(lambda: log.read_text().count("Serving on ") == times)


def wait_for_start(log: Path) -> list[str]:
    """The lines from `ready` on that it has printed since it last started, once all are there."""
    wait_until(lambda: "delete?" in log.read_text().rpartition(RESTARTING)[2])
    text = log.read_text().rpartition(RESTARTING)[2]
    return text[text.index("ready: ") :].splitlines()[:5]


def call(lines: list[str]) -> list[str]:
    """The responses to the printed commands."""
    return [paste(line) for line in lines if line.startswith("curl ")]
