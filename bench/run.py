"""`make bench`: this API compared with the usual boto3 way (bench/peer) and with bare Chalice.

Prints a table of ratios, writes it to results.md and results.svg, and exits non-zero if a ratio is
below its goal. Both are packaged first, which needs a package registry. Everything runs on one
machine against one stub of AWS, in alternating rounds: only the ratios carry over.
"""

# Child processes, and a stub of its own on 127.0.0.1, are its purpose.
# ruff: noqa: S101, S310, S603

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bench import report, stub
from dev import package

ROOT = Path(__file__).parent.parent
ROUNDS = 9
LATENCY_SECONDS = 0.02
DELETE = f"delete, {stub.OBJECTS:,} objects at {LATENCY_SECONDS * 1000:.0f} ms a request"
# The session token of a Lambda's role is about as long.
TOKEN = "T" * 1000
ENVIRON = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_Abc123",
    "JOB_REQUESTS_TABLE": "job-requests",
    "JOB_FILES_BUCKET": "job-files",
    "JOB_LIST_INDEX": "byDate",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
Event = dict[str, Any]
T = TypeVar("T")
_next_job = count(stub.FIRST_TO_DELETE)


class Code(NamedTuple):
    """The code folders, as a Lambda unpacks them; `compiled` is the peer's with bytecode added."""

    ours: Path
    peer: Path
    compiled: Path
    floor: Path
    ours_zip_bytes: int
    peer_zip_bytes: int


class Worker:
    """A child process that runs the Lambda handler of one code folder."""

    def __init__(self, code: Path, endpoint: str, **environ: str) -> None:
        command = [sys.executable, "-I", "-S", "-B", str(ROOT / "bench" / "worker.py"), str(code)]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            env=ENVIRON | {"AWS_ENDPOINT_URL": endpoint} | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def request(self, event: Event, calls: int = 1) -> dict[str, Any]:
        """How long the calls took, and the last response, which has to be a 200."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"event": event, "calls": calls}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("bench:"):
                answer: dict[str, Any] = json.loads(line.removeprefix("bench:"))
                if answer["status"] != 200:
                    raise RuntimeError(answer["body"])
                return answer
        raise RuntimeError(f"{self.process.args!r} ended without a response")


def main() -> None:
    """Measure, print, write; exit non-zero where a ratio falls short."""
    with (
        tempfile.TemporaryDirectory() as folder,
        stub_at(0) as quick,
        stub_at(LATENCY_SECONDS) as slow,
    ):
        code = unpack(Path(folder))
        rows = [*warm(code, quick), warm_delete(code, slow), *cold(code, quick, slow)]
        rows.append(
            report.Row("Zip", "MB", code.peer_zip_bytes / 1e6, code.ours_zip_bytes / 1e6, 6)
        )
        rows.append(read_capacity(code, quick))
        peaks = memory(code, quick)
    text = report.markdown(rows, peaks, ROUNDS)
    print(text)
    (ROOT / "bench" / "results.md").write_text(text)
    (ROOT / "bench" / "results.svg").write_text(report.svg(rows))
    if any(row.falls_short for row in rows) or any(ours > 128 for _, ours, _ in peaks):
        sys.exit("A row falls short.")


@contextmanager
def stub_at(latency_seconds: float) -> Iterator[str]:
    """A stub of AWS as a child process; its URL."""
    command = [sys.executable, "-m", "bench.stub", str(latency_seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def unpack(folder: Path) -> Code:
    """Package ours as `make package` does, the peer with plain `chalice package`; unpack all."""
    package.main(folder / "build")
    project, packaged = folder / "project", folder / "packaged"
    shutil.copytree(ROOT / "bench" / "peer", project)
    chalice = str(Path(sys.executable).parent / "chalice")
    command = [chalice, "package", "--stage", "prod", str(packaged)]
    environ = os.environ | ENVIRON
    subprocess.run(command, cwd=project, env=environ, check=True, stdout=subprocess.DEVNULL)
    ours_zip, peer_zip = folder / "build" / "deployment.zip", packaged / "deployment.zip"
    for path, name in ((ours_zip, "ours"), (peer_zip, "peer"), (peer_zip, "compiled")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / name)
    shutil.copytree(ROOT / "bench" / "floor", folder / "floor")
    shutil.copytree(folder / "peer" / "chalice", folder / "floor" / "chalice")
    for name in ("compiled", "floor"):
        package.compile_all(folder / name)
    ours, peer, compiled, floor = (folder / name for name in ("ours", "peer", "compiled", "floor"))
    sizes = ours_zip.stat().st_size, peer_zip.stat().st_size
    return Code(ours, peer, compiled, floor, *sizes)


def warm_delete(code: Code, endpoint: str) -> report.Row:
    """Deletes of other jobs by a Lambda instance that has deleted one before."""
    with Worker(code.ours, endpoint) as ours, Worker(code.compiled, endpoint) as peer:

        def milliseconds(worker: Worker) -> float:
            return float(worker.request(delete_event())["seconds"][0]) * 1000

        milliseconds(ours)
        milliseconds(peer)
        return report.Row(f"{DELETE}, warm", "ms", *rounds(milliseconds, peer, ours), 1.2)


def warm(code: Code, endpoint: str) -> list[report.Row]:
    """The rows of a Lambda instance that has served requests before."""
    cases = [
        (f"get, {stub.FILES:,} files, warm", get_event, 20, 3),
        (f"list, {stub.JOBS:,} jobs, warm", list_event, 4.2, 3),
        ("get-object-url, warm", url_event, 1.8, 300),
    ]
    rows = []
    with Worker(code.ours, endpoint) as ours, Worker(code.compiled, endpoint) as peer:
        for title, event, least, calls in cases:
            same(peer.request(event()), ours.request(event()))

            def milliseconds(worker: Worker, event: Event, calls: int) -> float:
                return statistics.median(map(float, worker.request(event, calls)["seconds"])) * 1000

            medians = rounds(partial(milliseconds, event=event(), calls=calls), peer, ours)
            rows.append(report.Row(title, "ms", *medians, least))
    return rows


def cold(code: Code, quick: str, slow: str) -> list[report.Row]:
    """The rows of a new Lambda instance: from the start of its process to its first response."""
    cases = [
        (f"{DELETE}, cold", code.compiled, code.ours, slow, delete_event, 1.5),
        ("get, cold", code.peer, code.ours, quick, get_event, 5),
        ("list, cold", code.peer, code.ours, quick, list_event, 3.2),
        ("get-object-url, cold", code.peer, code.ours, quick, url_event, 10),
        ("get-object-url, cold: bare Chalice", code.floor, code.ours, quick, url_event, 0.55),
    ]
    rows = []
    for title, peer, ours, endpoint, event, least in cases:

        def milliseconds(code: Path, endpoint: str, event: Callable[[], Event]) -> float:
            with Worker(code, endpoint) as worker:
                return (float(worker.request(event())["finished"]) - worker.started) * 1000

        medians = rounds(partial(milliseconds, endpoint=endpoint, event=event), peer, ours)
        rows.append(report.Row(title, "ms", *medians, least))
    return rows


def rounds(measure: Callable[[T], float], peer: T, ours: T) -> tuple[float, float]:
    """The medians of the peer and of ours, measured in turn."""
    measured = [(measure(peer), measure(ours)) for _ in range(ROUNDS)]
    theirs, own = zip(*measured, strict=True)
    return statistics.median(theirs), statistics.median(own)


def read_capacity(code: Code, endpoint: str) -> report.Row:
    """What a list of wide items reads; the peer, from the table itself, eventually consistent."""

    def units(code: Path, **environ: str) -> float:
        with Worker(code, endpoint, **environ) as worker:
            read_units(endpoint)
            worker.request(list_event(stub.WIDE_JOBS_USER))
            return read_units(endpoint)

    title = f"list, {stub.WIDE_JOBS:,} jobs of {stub.WIDE_BYTES // 1024} KB: read capacity"
    return report.Row(title, "units", units(code.peer, JOB_LIST_INDEX=""), units(code.ours), 50)


def read_units(endpoint: str) -> float:
    """The units that the stub has counted since the last call."""
    with urllib.request.urlopen(f"{endpoint}/read-capacity") as response:
        return float(response.read())


def memory(code: Code, endpoint: str) -> list[tuple[str, float, float]]:
    """The most memory in MB that a new process takes for its first response: ours, the peer's."""
    cases = ((f"get, {stub.FILES:,} files", get_event), (f"list, {stub.JOBS:,} jobs", list_event))
    peaks = []
    for title, event in cases:
        with Worker(code.ours, endpoint) as ours, Worker(code.compiled, endpoint) as peer:
            peaks.append(
                (title, ours.request(event())["peak_mb"], peer.request(event())["peak_mb"])
            )
    return peaks


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuse to compare different responses, except for URL queries and expiry times."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items() if name != "expires_at"}
        return value.partition("?")[0] if isinstance(value, str) else value

    if plain(json.loads(one["body"])) != plain(json.loads(other["body"])):
        raise RuntimeError("The responses differ.")


def event(method: str, path: str, user: str = stub.MANY_JOBS_USER, **query: str | int) -> Event:
    """What API Gateway invokes the Lambda with."""
    return {
        "requestContext": {
            "httpMethod": method,
            "resourcePath": path,
            "authorizer": {"claims": {"sub": user, "token_use": "id"}},
        },
        "multiValueQueryStringParameters": {
            name.replace("_", "-"): [str(value)] for name, value in query.items()
        },
        "headers": {"Accept": "application/json"},
        "pathParameters": None,
        "stageVariables": None,
        "body": None,
    }


def get_event() -> Event:
    """The job with files."""
    return event("GET", "/jobs/get", job_id=stub.JOB_WITH_FILES)


def list_event(user: str = stub.MANY_JOBS_USER) -> Event:
    """All jobs."""
    return event("GET", "/jobs/list", user)


def url_event() -> Event:
    """One object."""
    name = "a0f3a5b2-1c1d-4c7e-9d59-7c1d4d1b6a10.png"
    return event("GET", "/jobs/get-object-url", job_id=1, object_uuid=name)


def delete_event() -> Event:
    """A job that was not deleted yet."""
    return event("DELETE", "/jobs/delete", job_id=next(_next_job))


if __name__ == "__main__":
    main()
