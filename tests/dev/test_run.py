"""`make run` as somebody who has just cloned the project uses it."""

import json
import os
import re
import shlex
import shutil
import signal
import site
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest
import urllib3

from dev.emulated_aws import PASSWORD
from dev.processes import free_port
from dev.run import chosen_port, main, serve
from tests.support import ROOT, openapi
from tests.support.commands import documented_commands, environment
from tests.support.processes import (
    HOSTILE,
    DevServer,
    children,
    dev_server,
    is_alive,
    paste,
    wait_until,
)
from tests.support.running_api import Running

PROGRAM = [sys.executable, "-E", "-m", "dev.run"]
LIBRARY = Path(site.getsitepackages()[0]).relative_to(sys.prefix)
RUN, _, README_CURL = documented_commands(ROOT / "README.md")[:3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    log = tmp_path_factory.mktemp("run") / "log"
    command = [*shlex.split(RUN), *environment(sys.prefix)]
    with dev_server(command, free_port(), log, URL_EXPIRY_SECONDS="60") as running:
        wait_until(lambda: "Ctrl-C ends everything" in log.read_text())
        yield running


def test_it_serves_what_it_says(run: DevServer) -> None:
    listed, job, url, deleted = map(paste, run.curls)
    assert listed.startswith('{"jobs":[{"job_id":')
    assert '"results":{"' in job
    assert url.startswith(f'{{"url":"http://127.0.0.1:{run.port + 2}/')
    assert "X-Amz-Expires=360&" in url
    assert deleted == '{"message":"Ok"}'
    assert f"page: http://127.0.0.1:{run.port + 1}" in run.lines
    page = urllib3.request("GET", f"http://127.0.0.1:{run.port + 1}")
    assert b"<title>Jobs</title>" in page.data
    assert dict(line.split("=", 1) for line in run.lines if re.match("[A-Z_]+=", line)) == {
        "JOBS_API_URL": f"http://127.0.0.1:{run.port}",
        "COGNITO_ENDPOINT": f"http://127.0.0.1:{run.port + 2}",
        "COGNITO_REGION": "eu-central-1",
        # The same in each run.
        "COGNITO_USER_POOL_ID": "eu-central-1_Local0001",
        "COGNITO_CLIENT_ID": "local000000000000000000002",
        "COGNITO_USER": "demo@example.com",
        "COGNITO_PASSWORD": PASSWORD,
    }


def test_the_readmes_request_is_one_that_it_prints_and_its_response_is_like_the_readmes(
    run: DevServer,
) -> None:
    printed = f"{run.curls[0][:-1]}?limit=1'"
    [shown, printed_file] = (re.findall(r"/tmp/jobs-\w+/", each) for each in (README_CURL, printed))
    curl = README_CURL.replace(*shown, *printed_file).replace(":8000/", f":{run.port}/")
    assert curl == printed
    [response] = re.findall(r"^{.*}$", (ROOT / "README.md").read_text(), re.MULTILINE)
    schema = openapi.PATHS["/jobs/list"]["get"]["responses"]["200"]["content"]["application/json"]
    openapi.validate(json.loads(response), schema["schema"])
    assert list(json.loads(response)) == list(json.loads(paste(curl)))


def test_the_emulated_aws_refuses_to_run_code(run: DevServer) -> None:
    response = urllib3.request("GET", f"http://127.0.0.1:{run.port + 2}/2015-03-31/functions")
    assert (response.status, response.json()) == (400, {"error": "Unsupported service: lambda"})


def test_it_listens_on_its_three_ports_of_127_0_0_1_only(run: DevServer) -> None:
    ours = listening(children(run.process.pid))
    assert ours == {f"0100007F:{run.port + number:04X}" for number in range(3)}


def listening(pids: list[int]) -> set[str]:
    """The addresses that the processes listen on, as in /proc/net."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(os.readlink(file))
    tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    rows = [line.split() for line in tables.splitlines()]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def test_a_token_of_one_run_is_refused_in_the_next(run: DevServer, running: Running) -> None:
    """Although their user pools have the same id."""
    assert f"COGNITO_USER_POOL_ID={running.pool_arn.rpartition('/')[2]}" in run.lines
    assert running("GET", "/jobs/list").status == 200
    assert running("GET", "/jobs/list", run.token.read_text()).status == 401


def test_ctrl_c_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    with dev_server(PROGRAM, free_port(), tmp_path / "log") as run:
        started = children(run.process.pid)
        assert len(started) == 2
        for _ in range(20):
            # All but the first reach it while it ends, as from somebody who has no patience.
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        run.process.wait(20)
    assert run.lines[-1] == "Stopped."
    assert run.process.returncode == 0
    assert [pid for pid in started if is_alive(pid)] == []


def test_only_its_user_can_read_what_it_writes_and_nothing_is_left(tmp_path: Path) -> None:
    """Not even after SIGKILL."""
    written = tmp_path / "written"
    written.mkdir()
    with dev_server(PROGRAM, free_port(), tmp_path / "log", TMPDIR=str(written)) as run:
        started = children(run.process.pid)
        [folder] = written.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.rglob("*.pem"))
        run.process.kill()
        wait_until(lambda: not list(written.iterdir()) and not any(map(is_alive, started)), 20)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_while_it_starts(sent: signal.Signals) -> None:
    process = subprocess.Popen(
        PROGRAM,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **HOSTILE, "PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: children(process.pid) != [])
    started = children(process.pid)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=20)
    assert output.endswith("Stopped.\n")
    assert process.returncode == 0
    assert [pid for pid in started if is_alive(pid)] == []


def test_it_ends_when_a_part_of_it_has_ended(tmp_path: Path) -> None:
    with dev_server(PROGRAM, free_port(), tmp_path / "log") as run:
        [emulator] = [
            pid
            for pid in children(run.process.pid)
            if b"emulator.py\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(emulator, signal.SIGKILL)
        assert run.process.wait(20) == 1
    assert run.lines[-1] == "The emulated AWS has ended by itself."


@pytest.mark.parametrize(
    ("interpreter", "library", "is_in", "made_in", "is_made"),
    [
        (sys.executable, LIBRARY, ".venv", ".venv", False),
        (sys.executable, LIBRARY, "shared", "shared", False),
        (sys.executable, LIBRARY, ".venv", "elsewhere/.venv", True),
        ("/nonexistent", LIBRARY, ".venv", ".venv", True),
        (sys.executable, Path("lib"), ".venv", ".venv", True),
    ],
    ids=["good", "linked", "moved", "interpreter gone", "interpreter of another version"],
)
def test_make_makes_an_environment_again_that_cannot_be_used(
    interpreter: str, library: Path, is_in: str, made_in: str, is_made: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "a developer's folder"
    (folder / is_in / "bin").mkdir(parents=True)
    (folder / is_in / library).mkdir(parents=True)
    if is_in != ".venv":
        (folder / ".venv").symlink_to(is_in)
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin" / "python").symlink_to(interpreter)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin")
    (folder / ".venv" / "installed").write_text(str(folder / made_in))
    # MAKEFLAGS: what the make that runs the tests was given, such as VENV.
    shell = ["env", "-u", "MAKEFLAGS", "PYTHONWARNINGS=default", f"HOME={folder}"]
    make = [*shell, "make", "--dry-run", "run"]
    for venv in (".venv", "~/.venv"):
        done = subprocess.run([*make, f"VENV={venv}"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0
        assert (f"venv --clear {venv}" in done.stdout) == is_made
    done = subprocess.run([*make, "VENV=a b"], cwd=folder, capture_output=True, text=True)
    assert done.stderr.count("\n") == 1
    assert "without spaces" in done.stderr


def test_a_bad_value_in_the_shell_ends_it_in_one_line() -> None:
    shell = patch.dict(os.environ, PORT=str(free_port()), LOG_LEVEL="loud")
    with shell, pytest.raises(SystemExit, match=r"^LOG_LEVEL is 'loud'. It must be .*\Z"):
        main()


def test_a_taken_port_is_named_with_the_way_to_choose_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        with pytest.raises(SystemExit) as ended:
            main()
    message = f"Port {port} is taken. Choose another one: make run PORT={port + 10}"
    assert (ended.value.code, capsys.readouterr().out) == (message, "")


def test_a_port_that_is_taken_meanwhile_is_named_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    # Listens, and answers every GET by 501.
    with HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(SystemExit) as ended:
            serve(port, tmp_path)
        other.shutdown()
    assert str(ended.value.code).endswith(f" Choose another one: make run PORT={port + 10}")
    assert "ready: " not in capsys.readouterr().out


@pytest.mark.parametrize("port", ["abc", "0", "-1", "65534", "8000 "])
def test_a_port_that_is_none_is_said_with_what_it_must_be(port: str) -> None:
    with pytest.raises(SystemExit) as ended:
        chosen_port(port)
    assert ended.value.code == (
        f"PORT is {port!r}. It must be a number from 1 to 65533: make run PORT=8010"
    )
