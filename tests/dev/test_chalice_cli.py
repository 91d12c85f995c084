"""Chalice's own commands, in a fresh copy of the project."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import urllib3

from chalicelib import aws
from dev import package, server
from dev.chalice_cli import parse_command
from dev.demo import JOB_TO_DELETE
from dev.deployment import check
from dev.emulated_aws import NO_CONFIGURATION
from dev.package import ROOT
from dev.processes import free_port
from tests.support.commands import inline_commands
from tests.support.events import ENVIRON
from tests.support.processes import (
    DevServer,
    children,
    dev_server,
    is_alive,
    paste,
    wait_until,
)
from tests.support.scripted_server import Scripted, scripted_server

CHALICE = Path(sys.executable).parent / "chalice"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project, which is the one that commands in this process work on."""
    folder = tmp_path / "project"
    package.copy_project(folder)
    monkeypatch.chdir(folder)
    for module in (package, server):
        monkeypatch.setattr(module, "ROOT", folder)
    aws.botocore_session.cache_clear()
    yield folder
    aws.botocore_session.cache_clear()


def run(command: str, **environ: str) -> None:
    """What a command does in this environment, once Chalice has read its configuration."""
    with patch.dict(os.environ, NO_CONFIGURATION | environ, clear=True):
        if command == "make package":
            package.main(Path("build"))
        name, options = parse_command(shlex.split(command))
        if name == "local":
            server.start(options["host"], options["port"], options["stage"])
        else:
            check(name, options)


def environ(folder: Path, **variables: str) -> dict[str, str]:
    # Chalice's own watcher runs until app.py is loaded, and may find that file's new bytecode.
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **nothing, **variables}


def fill_in(copy: Path, *but: str) -> None:
    """Fill in stage prod and its policy, but not the files of these names."""
    for path in (copy / ".chalice").iterdir():
        if path.name not in but:
            path.write_text(path.read_text().replace("FILL IN", "filled in"))


class Mistake(NamedTuple):
    """A command, what it says in one line, and why: in the environment, in files, unfilled."""

    command: str
    message: str
    variables: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    unfilled: str = ""


CONFIG, POLICY = ".chalice/config.json", ".chalice/policy-prod.json"
NO_STAGE = f"Stage nosuch does not exist. {CONFIG} has: dev, prod."
PACKAGE, TEMPLATE = "package --stage prod --merge-template", "resources.yaml"
MERGE = f"{PACKAGE} {TEMPLATE} out"


def config(**prod: Any) -> dict[str, str]:
    """The file of the configuration, with this stage prod."""
    return {CONFIG: json.dumps({"version": "2.0", "app_name": "a", "stages": {"prod": prod}})}


MISTAKES = [
    Mistake("package out", "Use chalice package --stage prod, or make deploy"),
    Mistake("deploy --stage prod", f"{CONFIG} still says FILL IN.", unfilled="config.json"),
    Mistake(
        "package --pkg-format terraform --stage prod out",
        f"{POLICY} still says FILL IN.",
        unfilled="policy-prod.json",
    ),
    Mistake(
        "deploy --stage prod",
        ".chalice/none.json cannot be read: No such file",
        files=config(autogen_policy=False, iam_policy_file="none.json"),
    ),
    Mistake("package --stage prod out", f"{POLICY} is not valid JSON: Exp", files={POLICY: "{"}),
    Mistake("deploy --stage prod", "would get a role that may only log.", files=config()),
    Mistake(
        MERGE,
        f"watch stage api: set api_gateway_stage in {CONFIG} to api, or remove it.",
        files=config(autogen_policy=False, api_gateway_stage="v1"),
    ),
    Mistake("make package", "Set automatic_layer to false", files=config(automatic_layer=True)),
    Mistake("make package", "Stage prod does not exist.", files={CONFIG: '{"stages": {}}'}),
    Mistake("make package", f"{CONFIG} cannot be read: Expecting", files={CONFIG: "{"}),
    Mistake("make package", "must be an object with an object of stages", files={CONFIG: "[]"}),
    Mistake("make package", "must be an object with an obj", files={CONFIG: '{"stages": []}'}),
    Mistake(
        "make package",
        f"Stage prod in {CONFIG} must be an object: {{}} if it sets nothing.",
        files={CONFIG: '{"stages": {"prod": null}}'},
    ),
    Mistake(
        "make package",
        f"URL_EXPIRY_SECONDS in {CONFIG} is 3600. It must be a text, in quotes.",
        files=config(environment_variables={"URL_EXPIRY_SECONDS": 3600}),
    ),
    Mistake(
        "local --stage prod",
        "LOG_LEVEL in .chalice/config.json is null. It must be a text",
        files={
            CONFIG: '{"environment_variables": {"LOG_LEVEL": null},'
            '"stages": {"prod": {"environment_variables": {"ALLOWED_ORIGIN": "*"}}}}'
        },
    ),
    Mistake(
        "make package",
        "iam_policy_file is policy. It must name a .json file inside .chalice/.",
        files={**config(iam_policy_file="policy"), ".chalice/policy": "{}"},
    ),
    Mistake(
        "make package",
        "iam_policy_file is ../p.json. It must name a .json file inside",
        files={**config(iam_policy_file="../p.json"), "p.json": "{}"},
    ),
    Mistake("make package", "build cannot be written: File exists.", files={"build": ""}),
    Mistake("make package", f"{TEMPLATE} is not valid YAML: while", files={TEMPLATE: "{a: 1"}),
    Mistake("local --no-autoreload --stage nosuch", NO_STAGE),
    Mistake("deploy --stage nosuch", NO_STAGE),
    Mistake(f"{PACKAGE} nope.yaml out", "nope.yaml cannot be read: No such file or directory."),
    Mistake(f"{PACKAGE} app.py out", "Expected app.py to be valid JSON template."),
    Mistake(f"{PACKAGE} a.yml out", "a.yml is not valid YAML: while", files={"a.yml": "{a: 1"}),
    Mistake(f"{PACKAGE} a.yml out", "a.yml is not a CloudFormation temp", files={"a.yml": "text"}),
    Mistake(f"{PACKAGE} {TEMPLATE} app.py", "app.py must be a folder, or a name where"),
    Mistake(f"{PACKAGE} {TEMPLATE} app.py/out", "app.py/out must be a folder, or a name where"),
    Mistake(f"{PACKAGE} {TEMPLATE} --single-file dev", "dev must be a file in an existing folder"),
    Mistake(f"{PACKAGE} {TEMPLATE} --single-file out/zip", "zip must be a file in an existing"),
    Mistake("deploy --stage prod", "There is no AWS region. Set AWS_REGION.", {"AWS_REGION": ""}),
    Mistake("deploy --stage prod", "Could not connect to", {"AWS_ENDPOINT_URL": "http://[::1]:9"}),
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
def test_a_mistake_is_said_in_one_line(
    mistake: Mistake, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_in(copy, mistake.unfilled)
    for name, content in mistake.files.items():
        (copy / name).write_text(content)
    command = mistake.command
    if command.startswith("local") and "--port" not in command:
        command += f" --port {free_port()}"
    with pytest.raises(SystemExit) as ended:
        run(command, **{**ENVIRON, **mistake.variables})
    [line] = capsys.readouterr().err.splitlines() or [str(ended.value.code)]
    assert mistake.message in line
    assert not (copy / "out").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("deploy", "Use chalice deploy --stage prod, or make deploy"),
        ("local --port {taken}", "Port {taken} is taken. Choose another one: chalice local --ho"),
    ],
)
def test_chalice_itself_says_it_before_all_else(command: str, message: str, copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        done = subprocess.run(
            [CHALICE, *command.format(taken=taken).split()],
            env=environ(copy, **ENVIRON),
            capture_output=True,
            text=True,
        )
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    assert message.format(taken=taken) in line


def test_chalice_deploy_says_in_one_line_why_aws_refuses(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another stage may have placeholders."""
    fill_in(copy)
    file = copy / CONFIG
    stages = json.loads(file.read_text())["stages"] | {"other": {"tags": {"team": "FILL IN"}}}
    file.write_text(json.dumps({"version": "2.0", "app_name": "a", "stages": stages}))
    expired = "<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"
    with scripted_server(Scripted(403, expired)) as sts, pytest.raises(SystemExit):
        run("deploy --stage prod", **ENVIRON, AWS_ENDPOINT_URL=sts.url)
    [line] = capsys.readouterr().err.splitlines()
    assert "(ExpiredToken) when calling the GetCallerIdentity" in line


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (TEMPLATE, "Resources: {\n", "resources.yaml is not valid YAML: .+ line 2.+\n"),
        (CONFIG, '{"stages": {"dev": null}}', "Stage dev in .+ must be an object: .+\n"),
    ],
)
def test_a_mistake_ends_make_run_in_one_line(
    file: str, content: str, message: str, copy: Path
) -> None:
    (copy / file).write_text(content)
    command = [sys.executable, "-E", "-m", "dev.run"]
    ended = subprocess.run(command, cwd=copy, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(message, ended.stderr)


def test_chalice_package_needs_no_more_than_a_region_for_the_template_of_make_package(
    copy: Path,
) -> None:
    [line] = [c for c in inline_commands(ROOT / "docs/deploy.md") if " --merge-template " in c]
    command = line.partition(" ")[2]
    unfilled = json.loads((copy / CONFIG).read_text())["stages"]["prod"]["environment_variables"]
    run(command, **unfilled, AWS_REGION="eu-central-1")
    assert command.startswith(shlex.join(["package", *package.OPTIONS]))


@contextmanager
def local(folder: Path, *options: str, **variables: str) -> Iterator[DevServer]:
    """`chalice local` in a copy of the project, with demo data."""
    package.copy_project(folder)
    port, log = free_port(), folder / "run.log"
    command = [str(CHALICE), "local", "--port", str(port), *options]
    with dev_server(command, port, log, folder, **environ(folder, **variables)) as running:
        yield running


def change(running: DevServer, source: str, file: str = "chalicelib/jobs.py") -> str:
    """Change a file, and wait until that is served; what this has logged."""
    before = len(running.log.read_text())
    (running.log.parent / file).write_text(source)
    wait_until(lambda: "Serving on " in running.log.read_text()[before:])
    return running.log.read_text()[before:]


BEHAVIOR = {"ALLOWED_ORIGIN": "https://app.example.com", "URL_EXPIRY_SECONDS": "60"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("local")
    (folder / "sitecustomize.py").write_text(FIND_REPLACED)
    shell = BEHAVIOR | {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    with local(folder / "project", **shell) as running:
        yield running


def test_chalice_local_serves_demo_data_and_keeps_them_when_it_reloads(demo: DevServer) -> None:
    listed, job, url, deleted = map(paste, demo.curls)
    deleted_job = f'"job_id":{JOB_TO_DELETE},'
    assert deleted_job in listed
    assert '"results":{"' in job
    assert "X-Amz-Expires=360&" in url
    assert deleted == '{"message":"Ok"}'
    response = urllib3.request("GET", f"http://127.0.0.1:{demo.port}/jobs/list")
    assert response.headers["Access-Control-Allow-Origin"] == BEHAVIOR["ALLOWED_ORIGIN"]
    started = children(demo.process.pid)
    assert len(started) == 2
    source = (ROOT / "chalicelib" / "jobs.py").read_text()
    log = change(demo, source.replace("Unknown status", "Changed"))
    assert log.startswith("Restarting local dev server: chalicelib/jobs.py changed.\n")
    # The same data and token, with new code.
    listed = paste(demo.curls[0])
    assert "Changed" in listed
    assert deleted_job not in listed
    assert children(demo.process.pid) == started


def test_ctrl_c_ends_it_with_all_that_it_started_and_without_a_traceback(tmp_path: Path) -> None:
    with local(tmp_path / "project") as running:
        started = children(running.process.pid)
        os.killpg(running.process.pid, signal.SIGINT)  # To the group, as from a terminal.
        running.process.wait(20)
    folder = running.token.parent
    wait_until(lambda: not any(map(is_alive, started)) and not folder.exists())
    assert running.lines[1:] == running.curls


@pytest.mark.parametrize(
    ("option", "sent"), [("--no-autoreload", signal.SIGINT), ("--autoreload", signal.SIGTERM)]
)
def test_a_signal_to_one_process_ends_it_with_all_that_it_started_too(
    option: str, sent: signal.Signals, copy: Path
) -> None:
    process = subprocess.Popen(
        [CHALICE, "local", option, "--port", str(free_port())],
        env=environ(copy, **ENVIRON),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout
    try:
        assert process.stdout.readline().startswith(b"Serving on ")
        process.send_signal(sent)
        # Its output ends when no process is left that could write to it.
        output, _ = process.communicate(timeout=20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert output == b""


@pytest.mark.parametrize(
    ("file", "mistake", "message"),
    [
        (
            "chalicelib/jobs.py",
            "import os\ndef broken(:\n",
            ", line 2: SyntaxError: invalid syntax\n",
        ),
        ("chalicelib/errors.py", "raise OSError\n", ", line 1: OSError: \n"),
        (TEMPLATE, "{", "SystemExit: resources.yaml is not valid YAML: while parsing"),
    ],
)
def test_a_mistake_while_editing_is_logged_with_its_place_until_it_is_mended(
    file: str, mistake: str, message: str, demo: DevServer
) -> None:
    code = (ROOT / file).read_text()
    log = change(demo, mistake + code, file)
    assert (demo.status(), demo.status()) == (502, 502)
    [line] = re.findall(f"\nThe API cannot be loaded: {demo.log.parent}/.*\n", log)
    assert message in line
    assert "Error" not in change(demo, code, file)
    assert demo.status() == 401


def test_a_mistake_in_the_server_itself_leaves_it_as_it_was_until_it_is_mended(
    demo: DevServer,
) -> None:
    file = "dev/server.py"
    path = demo.log.parent / file
    code = path.read_text()
    path.write_text("def broken(:\n" + code)
    wait_until(lambda: f"It goes on as it was: {path}, line 1: Syntax" in demo.log.read_text())
    assert demo.status() == 401
    change(demo, code, file)
    assert demo.status() == 401


def test_chalice_local_has_every_function_of_chalices_own(demo: DevServer) -> None:
    """It replaces none, in the reloader's process nor in the server's."""
    for pid in (demo.process.pid, children(demo.process.pid)[0]):
        os.kill(pid, signal.SIGUSR1)
        found = demo.log.parent / f"{pid}.json"
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
                for wrapper in ("fget", "__func__", "func"):
                    value = getattr(value, wrapper, value)
                if inspect.isfunction(value):
                    found[f"{owner.__name__}.{name}"] = value.__code__.co_filename
    ours = [name for name, file in found.items() if file.startswith(os.getcwd())]
    path = f"{os.getpid()}.json"
    with open(path + "~", "w") as file:
        json.dump([len(found), ours], file)
    os.rename(path + "~", path)

signal.signal(signal.SIGUSR1, find)
"""


def test_only_one_place_of_the_app_imports_dev() -> None:
    sources = [path.read_text() for path in (ROOT / "chalicelib").rglob("*.py")]
    code = "\n".join([(ROOT / "app.py").read_text(), *sources])
    imports = [line for line in code.splitlines() if re.search(r"\bimport", line)]
    ours = [line for line in imports if re.search(r"\b(bench|dev|tests)\b", line)]
    assert ours == ["    from dev.chalice_cli import prepare"]


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


def test_only_a_change_of_what_the_app_loads_restarts_it(demo: DevServer) -> None:
    folder, before = demo.log.parent, len(demo.log.read_text())

    def restarted_for() -> list[str]:
        named = re.findall("Restarting .*: (.*) changed", demo.log.read_text()[before:])
        return sorted(name for names in named for name in names.split(", "))

    def wait_for_restart(changed: list[str]) -> None:
        """All at once, or some of the files in a restart that follows."""
        ready = f"Serving on http://127.0.0.1:{demo.port}\n"
        wait_until(lambda: demo.log.read_text().endswith(ready) and restarted_for() == changed)

    # What `chalice local > run.log` logs is written into the project too.
    for do in (write, write, unlink):
        do(folder, LEFT_BEHIND)
        # Longer than it takes to notice a change.
        for _ in range(15):
            assert demo.status() == 401
            time.sleep(0.1)
    assert restarted_for() == []
    write(folder, LOADED)
    wait_for_restart(sorted(LOADED))
    unlink(folder, ["chalicelib/VERSION"])
    wait_for_restart(sorted([*LOADED, "chalicelib/VERSION"]))


BACKUPS_AND_CACHES = re.compile(r"/\.|~$|\.pyc$")


def test_make_package_packages_what_the_app_loads(copy: Path, tmp_path: Path) -> None:
    """The policy may be in a folder."""
    ours = [name for name in LEFT_BEHIND if name.startswith("chalicelib/")]
    left = {name for name in ours if BACKUPS_AND_CACHES.search(name)}
    write(copy, [*ours, *LOADED, ".chalice/policies/prod.json"])
    folder = tmp_path / "packaged"
    package.copy_project(folder)
    copied = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert copied >= {*LOADED, ".chalice/policies/prod.json", "requirements.txt", *ours} - left
    assert not copied & left


def test_make_package_keeps_all_of_vendor_and_who_may_execute_it(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not what pip has installed."""

    def chalice_package(project: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "sam.yaml").write_text("{}")
        with zipfile.ZipFile(folder / "deployment.zip", "w") as archive:
            archive.writestr("botocore/data/endpoints.json", '{"partitions": []}')
            archive.writestr("pip-1.0.dist-info/METADATA", "")
            for path in (project / "vendor").rglob("*"):
                archive.write(path, path.relative_to(project / "vendor"))

    vendored = {"words.data/list.txt", "foo-1.0.dist-info/METADATA", "bin/tool"}
    write(copy, [f"vendor/{name}" for name in vendored])
    (copy / "vendor/bin/tool").chmod(0o755)
    monkeypatch.setattr(package, "chalice_package", chalice_package)
    package.main(tmp_path / "build")
    with zipfile.ZipFile(tmp_path / "build" / "deployment.zip") as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert {name for name in modes if not name.startswith(("botocore/", "chalicelib/"))} == vendored
    assert {name for name, mode in modes.items() if mode != 0o644} == {"bin/tool"}
    assert modes["bin/tool"] == 0o755


def write(folder: Path, names: list[str]) -> None:
    """Create the files, or change them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write("\n")


def unlink(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).unlink()
