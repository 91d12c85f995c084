"""Processes that the tests watch, and the commands that they paste into a shell."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from tests.support import ROOT

# A shell that would break each of the programs, if they read it.
HOSTILE = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "AWS_PROFILE": "nope",
    "AWS_CONFIG_FILE": __file__,
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "PYTHONPATH": "/nonexistent",
}


class DevServer(NamedTuple):
    """A running `make run` or `chalice local`, with the log of what it prints."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def curls(self) -> list[str]:
        """The commands that it prints when it is ready."""
        ready = self.lines.index(f"ready: http://127.0.0.1:{self.port}")
        return self.lines[ready + 1 : ready + 5]

    @property
    def token(self) -> Path:
        return Path(self.curls[0].partition("$(cat ")[2].partition(")")[0])

    def status(self) -> int:
        """Of a response to a request without a token."""
        return urllib3.request("GET", f"http://127.0.0.1:{self.port}/jobs/list").status


@contextmanager
def dev_server(
    command: Sequence[str | Path], port: int, log: Path, folder: Path = ROOT, **environ: str
) -> Iterator[DevServer]:
    """It, once it is ready, in a hostile shell. SIGTERM ends it, and what it has started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], **HOSTILE, "PORT": str(port), **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or "/delete?" in log.read_text())
        yield DevServer(process, port, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def paste(command: str) -> str:
    """The output of a command that is pasted into the shell."""
    if not shutil.which("curl"):
        pytest.skip("curl is missing")
    environ = {"PATH": os.environ["PATH"]} | HOSTILE
    return subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, text=True, check=False
    ).stdout


def stat(pid: int) -> tuple[str, int]:
    """The state of a process, Z once it has ended, and its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "Z", 0
    state, parent, *_ = text.rpartition(")")[2].split()
    return state, int(parent)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    direct = sorted(each for each in pids if stat(each)[1] == pid)
    return direct + [grandchild for child in direct for grandchild in children(child)]


def is_alive(pid: int) -> bool:
    """Whether the process runs; an orphan that has ended may stay listed as a zombie."""
    return stat(pid)[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Fail if the condition does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
