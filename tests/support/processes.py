"""Processes that the tests watch, and the commands that they paste into a shell."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

# A shell that would break each of the programs, if they read it.
HOSTILE = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "AWS_PROFILE": "nope",
    "AWS_CONFIG_FILE": __file__,
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "PYTHONPATH": "/nonexistent",
}


def read_until_ready(process: subprocess.Popen[str]) -> list[str]:
    """Its lines up to the last that says what can be called."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ctrl-C ends "):
            return lines
    raise AssertionError("\n".join(lines))


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
