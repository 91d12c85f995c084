"""Chalice's own commands, typed in a fresh copy of the project, in a shell without variables."""

import ast
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
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3
import yaml

from dev.demo import JOB_TO_DELETE
from dev.package import ROOT
from dev.processes import free_port
from tests.support.commands import inline_commands
from tests.support.events import ENVIRON
from tests.support.processes import HOSTILE, children, is_alive, paste, wait_until
from tests.support.scripted_server import HANG_UP, Scripted, scripted_server

CHALICE = Path(sys.executable).parent / "chalice"
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
    # Chalice's own watcher runs until app.py is loaded, and may find that file's new bytecode.
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"PATH": os.environ["PATH"], "HOME": str(copy.parent), **nothing, **variables}


def run(copy: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    make_package = [sys.executable, "-m", "dev.package"]
    return subprocess.run(
        make_package if arguments[0] == "make" else [CHALICE, *arguments],
        cwd=copy,
        env=environ(copy, **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode != 0
    [line] = done.stderr.strip().splitlines()
    assert message in line


def fill_in(copy: Path, *but: str) -> None:
    """Fill in stage prod and its policy, but not the files of these names."""
    for path in (copy / ".chalice").iterdir():
        text = path.read_text()
        for name in ("USER_POOL_ARN", "JOB_REQUESTS_TABLE", "JOB_FILES_BUCKET"):
            text = re.sub(f'("{name}": )"FILL IN[^"]*"', rf'\1"{ENVIRON[name]}"', text)
        if path.name not in but:
            path.write_text(text.replace("FILL IN", "filled in"))


class Mistake(NamedTuple):
    """A command, what it says in one line, and why: in the environment, in files, unfilled."""

    command: str
    message: str
    variables: Mapping[str, str] = {}
    files: Mapping[str, str | None] = {}
    unfilled: str = ""


CONFIG, POLICY = ".chalice/config.json", ".chalice/policy-prod.json"
NO_STAGE = f"Stage nosuch does not exist. {CONFIG} has: dev, prod."
PACKAGE, TEMPLATE = "package --stage prod --merge-template", "resources.yaml"
MERGE = f"{PACKAGE} {TEMPLATE} out"


def config(**prod: Any) -> dict[str, str | None]:
    """The file of the configuration, with this stage prod."""
    return {CONFIG: json.dumps({"version": "2.0", "app_name": "a", "stages": {"prod": prod}})}


MISTAKES = [
    Mistake("deploy", "Use chalice deploy --stage prod, or make deploy"),
    Mistake("package out", "Use chalice package --stage prod, or make deploy"),
    Mistake("deploy --stage prod", f"{CONFIG} still says FILL IN.", unfilled="config.json"),
    Mistake(
        "package --pkg-format terraform --stage prod out",
        f"{POLICY} still says FILL IN.",
        unfilled="policy-prod.json",
    ),
    Mistake("deploy --stage prod", f"{POLICY} cannot be read: No such file", files={POLICY: None}),
    Mistake("package --stage prod out", f"{POLICY} is not valid JSON: Exp", files={POLICY: "{"}),
    Mistake(MERGE, f"{POLICY} is not valid JSON: Expecting property name", files={POLICY: "{"}),
    Mistake("deploy --stage prod", "would get a role that may only log.", files=config()),
    Mistake(
        MERGE,
        "The template's alarms watch stage api: set api_gateway_stage in .chalice/config.json.",
        files=config(autogen_policy=False, api_gateway_stage="v1"),
    ),
    Mistake("make package", "Set automatic_layer to false", files=config(automatic_layer=True)),
    Mistake("make package", "build cannot be written: File exists.", files={"build": ""}),
    Mistake("local --no-autoreload --stage nosuch", NO_STAGE),
    Mistake("deploy --stage nosuch", NO_STAGE),
    Mistake("package --stage nosuch out", NO_STAGE),
    Mistake(f"{PACKAGE} nope.yaml out", "nope.yaml cannot be read: No such file or directory."),
    Mistake(f"{PACKAGE} chalicelib out", "chalicelib cannot be read: Is a directory."),
    Mistake(f"{PACKAGE} app.py out", "Expected app.py to be valid JSON template."),
    Mistake(f"{PACKAGE} a.yml out", "a.yml is not valid YAML: while", files={"a.yml": "{a: 1"}),
    Mistake(f"{PACKAGE} a.yml out", "a.yml is not a CloudFormation temp", files={"a.yml": "text"}),
    Mistake(f"{PACKAGE} {TEMPLATE} app.py", "app.py must be a folder, or a name where"),
    Mistake(f"{PACKAGE} {TEMPLATE} app.py/out", "app.py/out must be a folder, or a name where"),
    Mistake(f"{PACKAGE} {TEMPLATE} --single-file dev", "dev must be a file in an existing folder"),
    Mistake(f"{PACKAGE} {TEMPLATE} --single-file out/zip", "zip must be a file in an existing"),
    Mistake(MERGE, "There is no AWS region. Set AWS_REGION.", {"AWS_REGION": ""}),
    Mistake("deploy --stage prod", "There is no AWS region. Set AWS_REGION.", {"AWS_REGION": ""}),
    Mistake("local", "USER_POOL_ARN is 'x'. It must be the ARN of", {"USER_POOL_ARN": "x"}),
    Mistake("local --no-autoreload", "JOB_FILES_BUCKET is not set.", {"JOB_FILES_BUCKET": ""}),
    Mistake("local", "LOG_LEVEL is 'loud'. It must", {"USER_POOL_ARN": "", "LOG_LEVEL": "loud"}),
    Mistake("local", "AWS_REGION is not set, and no AWS profile names", {"AWS_REGION": ""}),
    Mistake("local", "There are no AWS credentials. Set AWS_ACC", {"AWS_ACCESS_KEY_ID": ""}),
    Mistake("local", "The config profile (no) could", {"AWS_REGION": "", "AWS_PROFILE": "no"}),
    Mistake("local", "Unable to parse config", {"AWS_REGION": "", "AWS_CONFIG_FILE": __file__}),
    Mistake("local --port 0", "Port 0 does not exist: it must be from 1 to 65535. Choose another"),
    Mistake("local --no-autoreload --host 203.0.113.7", "Cannot assign requested address)."),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.message)
def test_a_mistake_is_said_in_one_line(mistake: Mistake, copy: Path) -> None:
    fill_in(copy, mistake.unfilled)
    for name, content in mistake.files.items():
        if content is None:
            (copy / name).unlink()
        else:
            (copy / name).write_text(content)
    command = mistake.command.split()
    if command[0] == "local" and "--port" not in command:
        command += ["--port", str(free_port())]
    assert_one_line(run(copy, *command, **{**ENVIRON, **mistake.variables}), mistake.message)
    assert not (copy / "out").exists()


def test_a_taken_port_is_said_in_one_line(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(copy, "local", "--port", str(port))
    assert_one_line(done, f"Port {port} is taken. Choose another one: chalice local --host 1")


@slow
def test_make_package_takes_what_chalice_packages(copy: Path) -> None:
    """Without dotfiles and caches. The policy may be in a folder."""
    taken = {"chalicelib/new/data.txt", "chalicelib/new/__init__.py", "vendored/module.py"}
    left = ("chalicelib/.env", "chalicelib/new/__pycache__/old.pyc", "vendor/vendored/.env")
    for name in (*taken, *left):
        path = copy / name.replace("vendored/module", "vendor/vendored/module")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# content")
    (copy / ".chalice" / "policies").mkdir()
    (copy / POLICY).rename(copy / ".chalice" / "policies" / "prod.json")
    file = copy / CONFIG
    file.write_text(file.read_text().replace("policy-prod.json", "policies/prod.json"))
    done = run(copy, "make", "package")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(copy / "build" / "deployment.zip") as archive:
        names = set(archive.namelist())
    assert taken <= names
    assert not [name for name in names if name.endswith((".env", "old.pyc"))]


EXPIRED = (
    "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>Old</Message></Error></ErrorResponse>"
)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Scripted(403, EXPIRED), "(ExpiredToken) when calling the GetCallerIdentity"),
        (Scripted(HANG_UP), "Connection was closed before we received a valid"),
    ],
)
def test_chalice_deploy_says_in_one_line_why_aws_refuses(
    answer: Scripted, message: str, copy: Path
) -> None:
    fill_in(copy)
    file = copy / CONFIG
    stages = json.loads(file.read_text())["stages"] | {"other": {"tags": {"team": "FILL IN"}}}
    file.write_text(json.dumps({"version": "2.0", "app_name": "a", "stages": stages}))
    with scripted_server(answer) as aws:
        done = run(copy, "deploy", "--stage", "prod", **ENVIRON, AWS_ENDPOINT_URL=aws.url)
    assert_one_line(done, message)


@slow
def test_chalice_package_gives_the_template_of_make_package(copy: Path, build: Path) -> None:
    """AWS_REGION alone is enough."""
    [command] = [c for c in inline_commands(ROOT / "docs/deploy.md") if " --merge-template " in c]
    done = run(copy, *shlex.split(command)[1:], AWS_REGION="eu-central-1")
    assert done.returncode == 0, done.stderr
    packaged, expected = copy / "OUT" / "sam.yaml", build / "template.yaml"
    assert yaml.safe_load(packaged.read_text()) == yaml.safe_load(expected.read_text())


@contextmanager
def local(
    copy: Path, log: Path, port: int, *options: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`chalice local` in the copy, its output in the log, ended by SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [CHALICE, "local", "--port", str(port), *options],
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


def test_chalice_local_serves_demo_data_reloads_and_ends(copy: Path, tmp_path: Path) -> None:
    log, port = tmp_path / "log", free_port()
    behavior = {"ALLOWED_ORIGIN": "https://app.example.com", "URL_EXPIRY_SECONDS": "60"}
    with local(copy, log, port, **HOSTILE, **behavior, PYTHONSAFEPATH="1") as process:
        wait_until(lambda: "delete?" in log.read_text())
        ready, *commands = log.read_text().splitlines()
        assert ready == f"ready: http://127.0.0.1:{port}"
        listed, job, url, deleted = map(paste, commands)
        deleted_job = f'"job_id":{JOB_TO_DELETE},'
        assert deleted_job in listed
        assert '"results":{"' in job
        assert "X-Amz-Expires=360&" in url
        assert deleted == '{"message":"Ok"}'
        response = urllib3.request("GET", f"http://127.0.0.1:{port}/jobs/list")
        assert response.headers["Access-Control-Allow-Origin"] == behavior["ALLOWED_ORIGIN"]
        started = children(process.pid)
        assert len(started) == 2
        change(copy, "Changed once")
        wait_for_serving(log, 1)
        # The same data and token, with new code.
        listed = paste(commands[0])
        assert "Changed once" in listed
        assert deleted_job not in listed
        assert children(process.pid) == started
        folder = Path(ready_token(commands[0])).parent
        assert folder.exists()
    wait_until(lambda: not any(map(is_alive, started)) and not folder.exists())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("option", ["--autoreload", "--no-autoreload"])
def test_ctrl_c_ends_it_without_a_traceback(option: str, copy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with local(copy, log, free_port(), option, **ENVIRON) as process:
        wait_for_serving(log, 1)
        started = children(process.pid)
        for pid in (process.pid, *started):
            # As a terminal sends it.
            os.kill(pid, signal.SIGINT)
        process.wait(20)
    wait_until(lambda: not any(map(is_alive, started)))
    assert log.read_text().count("\n") == 1


def test_a_mistake_in_the_code_is_logged_with_its_place_until_it_is_mended(
    copy: Path, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", free_port()
    source = copy / "chalicelib" / "jobs.py"
    code = source.read_text()

    def status() -> int:
        response = urllib3.request("GET", f"http://127.0.0.1:{port}/jobs/list")
        assert list(response.json()) == ["message"]
        return response.status

    with local(copy, log, port, **ENVIRON):
        wait_for_serving(log, 1)
        source.write_text("import os\ndef broken(:\n" + code)
        wait_for_serving(log, 2)
        assert (status(), status()) == (502, 502)
        source.write_text(code)
        wait_for_serving(log, 3)
        assert status() == 401
    errors = [line for line in log.read_text().splitlines() if "Error" in line]
    assert errors == [f"The API cannot be loaded: {source}, line 2: SyntaxError: invalid syntax"]


def test_chalice_local_has_every_function_of_chalices_own(copy: Path, tmp_path: Path) -> None:
    """It replaces none, in the reloader's process nor in the server's."""
    (tmp_path / "sitecustomize.py").write_text(FIND_REPLACED)
    log = tmp_path / "log"
    environ = {"PYTHONPATH": str(tmp_path), "PROJECT": str(copy), "FOUND": str(tmp_path)}
    with local(copy, log, free_port(), **ENVIRON, **environ) as process:
        wait_for_serving(log, 1)
        for pid in (process.pid, *children(process.pid)):
            os.kill(pid, signal.SIGUSR1)
            found = tmp_path / f"{pid}.json"
            wait_until(found.exists)
            functions, ours = json.loads(found.read_text())
            assert functions > 100
            assert ours == []


# Upon SIGUSR1: how many functions Chalice's modules and classes have, and which of them are ours.
FIND_REPLACED = """
import inspect, json, os, signal, sys

def find(*_):
    found = {}
    for module in [m for name, m in sys.modules.items() if name.partition(".")[0] == "chalice"]:
        for owner in (module, *filter(inspect.isclass, vars(module).values())):
            for name, value in vars(owner).items():
                if inspect.isfunction(value):
                    file = inspect.unwrap(value).__code__.co_filename
                    found[f"{owner.__name__}.{name}"] = file
    ours = [name for name, file in found.items() if file.startswith(os.environ["PROJECT"])]
    path = os.path.join(os.environ["FOUND"], f"{os.getpid()}.json")
    with open(path + "~", "w") as file:
        json.dump([len(found), ours], file)
    os.rename(path + "~", path)

signal.signal(signal.SIGUSR1, find)
"""


def test_only_one_place_of_the_app_imports_dev() -> None:
    imports = []
    for path in (ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            imports += [(path.name, name) for name in names if str(name).startswith("dev")]
    assert imports == [("app.py", "dev.chalice_cli")]


LEFT_BEHIND = [
    ".git/index",
    ".venv/lib/module.py",
    "app.py~",
    "build/deployment.zip",
    ".chalice/.config.json.swp",
    ".chalice/deployed/prod.json",
    "chalicelib/.ipynb_checkpoints/jobs.py",
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
    # What is part of the project, but not loaded.
    "dev/page/page.js",
    "openapi.yaml",
    "tests/dev/test_run.py",
]
LOADED = [
    "app.py",
    "chalicelib/new/__init__.py",
    "chalicelib/VERSION",
    "vendor/new.py",
    "dev/demo.py",
    ".chalice/config.json",
    "resources.yaml",
]


def test_only_a_change_of_what_the_app_loads_restarts_it(copy: Path) -> None:
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
        changes = [(write, name) for name in LOADED] + [(Path.unlink, "chalicelib/VERSION")]
        for number, (do, name) in enumerate(changes, start=2):
            do(copy / name)
            wait_for_serving(log, number)
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
    source.write_text(source.read_text().replace("Unknown status", meaning))


def wait_for_serving(log: Path, times: int) -> None:
    """Wait until it accepts connections, after so many starts."""
    wait_until(lambda: log.read_text().count("Serving on ") == times)


def ready_token(command: str) -> str:
    """The file of the token in a printed command."""
    return command.partition("$(cat ")[2].partition(")")[0]
