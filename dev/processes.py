"""Child processes and ports: what is started here is ended here."""

import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NoReturn

START_SECONDS = 30
STOP_SECONDS = 5

Process = subprocess.Popen[bytes]


def end(message: str) -> NoReturn:
    """End the command with the message and a status that is not 0."""
    print(message, file=sys.stderr, flush=True)
    if "CHALICE_WORKER" in os.environ:
        # This is a thread of the reloader's worker, where SystemExit is lost. The reloader ends
        # with status 0 for each status of its worker, so send it a signal. An interactive bash
        # then prints "Terminated", as it does for every signal that ends Python.
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(2)
    sys.exit(2)


def show(*lines: str) -> None:
    """Print at once, also into a pipe. If nobody reads that any more, it is as if Ctrl-C came."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        # For what is printed from now on, and for Python, which writes the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGINT)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    while True:
        # Below those that Linux gives to connections, which could take it before it is used.
        port = random.randint(10_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def check_free(port: int, hint: str, host: str = "127.0.0.1") -> None:
    """Raises ConfigError, with the reason and the hint, if the port cannot be listened on."""
    # Here: dev/server.py imports this module, also while chalicelib/ has a mistake.
    from chalicelib.errors import ConfigError

    if not 1 <= port <= 65535:
        raise ConfigError(f"Port {port} does not exist: it must be from 1 to 65535. {hint}")
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken" if taken else f"of {host} cannot be used ({error})"
        raise ConfigError(f"Port {port} {reason}. {hint}") from error


@contextmanager
def child(
    command: Sequence[str | Path], environ: Mapping[str, str], log: Path | None = None
) -> Iterator[Process]:
    """A child process with exactly this environment, ended with all that it started.

    Its output goes to the log, or to this process's output. It has a process group of its own, so
    that Ctrl-C does not reach it before what uses it has ended. Its stdin closes with this process.
    """
    with log.open("wb") if log else nullcontext() as output:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent.parent,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: Process) -> None:
    """End the process and its group: SIGTERM, up to STOP_SECONDS later SIGKILL."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    if process.stdin:
        process.stdin.close()


def wait_for(url: str, process: Process, token: str = "") -> int:
    """The status of the URL's first response, to a request with the token as Authorization.

    Raises RuntimeError if the process ends before, or START_SECONDS have passed.
    """
    request = urllib.request.Request(url, headers={"Authorization": token})
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(
        f"{url} did not respond; the process that should serve it has ended or hangs"
    )
