"""`make bench`: this API compared with the usual boto3 way (bench/boto3_way) and with bare Chalice.

Prints tables, writes them to results.md and docs/performance.md, and exits non-zero if a goal is
missed, or a cost grows faster than the size. Both are packaged first, which needs a package
registry. Everything runs on one machine against one stub of AWS that speaks TLS, in alternating
rounds.
"""

# Child processes, and a stub of its own on 127.0.0.1, are its purpose.
# ruff: noqa: S101, S310, S603

import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bench import report, stub
from dev import package
from dev.emulated_aws import NO_CONFIGURATION, STAND_INS

ROOT = Path(__file__).parent.parent
ROUNDS = 7
SIZES = 10, 100, 1_000, 10_000, 30_000
LATENCY_SECONDS = 0.02
DELETE = f"at {LATENCY_SECONDS * 1000:.0f} ms a request"
MEMORY_MB = json.loads((ROOT / ".chalice" / "config.json").read_text())["lambda_memory_size"]
# The start of an instance has a whole processor at any size of memory, the handler its share.
SHARE = min(1, MEMORY_MB / report.WHOLE_PROCESSOR_MB)
ENVIRON = {
    **STAND_INS,
    **NO_CONFIGURATION,
    "JOB_LIST_INDEX": "byDate",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",  # pragma: allowlist secret
    "AWS_SESSION_TOKEN": "T" * 1000,  # A Lambda's is about as long.
}
Event = dict[str, Any]
T = TypeVar("T")
_next_job = count(1)


class Code(NamedTuple):
    """The code folders, as a Lambda unpacks them; boto3_compiled is boto3_way with bytecode."""

    ours: Path
    boto3_way: Path
    boto3_compiled: Path
    bare_chalice: Path


class Worker:
    """A child process that runs the Lambda handler of one code folder."""

    def __init__(self, code: Path, endpoint: "Endpoint", **environ: str) -> None:
        command = [sys.executable, "-I", "-S", "-B", str(ROOT / "bench" / "worker.py"), str(code)]
        self.process = subprocess.Popen(
            command,
            env=ENVIRON
            | {"AWS_ENDPOINT_URL": endpoint.url, "AWS_CA_BUNDLE": str(endpoint.bundle)}
            | environ,
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
                response: dict[str, Any] = json.loads(line.removeprefix("bench:"))
                if response["status"] != 200:
                    raise RuntimeError(response["body"])
                return response
        raise RuntimeError(f"{self.process.args!r} ended without a response")


class Endpoint(NamedTuple):
    """A stub of AWS: its URL, and the bundle of authorities to verify it by."""

    url: str
    bundle: Path

    def used(self, path: str = "used") -> dict[str, float]:
        """Requests and connections to it, and read units, since the last call."""
        context = ssl.create_default_context(cafile=self.bundle)
        with urllib.request.urlopen(f"{self.url}/{path}", context=context) as response:
            counts: dict[str, float] = json.loads(response.read())
        own = {"requests": 1, "connections": 1, "read_units": 0}
        return {name: counts[name] - own[name] for name in counts}


def main() -> None:
    """Measure, print, write; exit non-zero where a ratio falls short."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stub.make_certificates(folder)
        with stub_at(0, folder) as quick, stub_at(LATENCY_SECONDS, folder) as slow:
            code, zips = unpack(folder)
            sizes = growth(code, quick, slow)
            rows = [*cold(code, quick, slow), *warm(code, quick), *deletes(code, slow), zips]
            rows += counts(code, quick, slow)
    text = report.markdown(rows, sizes, ROUNDS, MEMORY_MB)
    print(text)
    (ROOT / "bench" / "results.md").write_text(text)
    document = ROOT / "docs" / "performance.md"
    document.write_text(report.with_tables_of(text, document.read_text()))
    missed = [f"{row.title}: the goal is {row.goal}." for row in rows if row.falls_short]
    if wrong := missed + report.steeper(sizes):
        sys.exit("\n".join(wrong))


@contextmanager
def stub_at(latency_seconds: float, folder: Path) -> Iterator[Endpoint]:
    """A stub of AWS as a child process, with the certificates in the folder."""
    command = [sys.executable, "-m", "bench.stub", str(latency_seconds), str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Endpoint(process.stdout.readline().strip(), folder / "bundle.pem")
        finally:
            process.terminate()


def unpack(folder: Path) -> tuple[Code, report.Row]:
    """Package ours as `make package` does, boto3_way with plain `chalice package`; unpack all.

    Returns the row of the zips' sizes too.
    """
    package.main(folder / "build")
    project, packaged = folder / "project", folder / "packaged"
    shutil.copytree(ROOT / "bench" / "boto3_way", project)
    chalice = str(Path(sys.executable).parent / "chalice")
    command = [chalice, "package", "--stage", "prod", str(packaged)]
    environ = os.environ | ENVIRON
    subprocess.run(command, cwd=project, env=environ, check=True, stdout=subprocess.DEVNULL)
    code = Code(*(folder / name for name in Code._fields))
    ours_zip, boto3_zip = folder / "build" / "deployment.zip", packaged / "deployment.zip"
    shutil.unpack_archive(ours_zip, code.ours)
    shutil.unpack_archive(boto3_zip, code.boto3_way)
    shutil.copytree(code.boto3_way, code.boto3_compiled)
    shutil.copytree(ROOT / "bench" / "bare_chalice", code.bare_chalice)
    shutil.copytree(code.boto3_way / "chalice", code.bare_chalice / "chalice")
    for compiled in (code.boto3_compiled, code.bare_chalice):
        package.compile_all(compiled)
    boto3_mb, our_mb = (path.stat().st_size / 1e6 for path in (boto3_zip, ours_zip))
    return code, report.Row("zip", "MB", boto3_mb, our_mb, most=2.5)


def deletes(code: Code, endpoint: Endpoint) -> list[report.Row]:
    """Deletes of other jobs by a Lambda instance that has deleted one before."""
    with Worker(code.ours, endpoint) as ours, Worker(code.boto3_compiled, endpoint) as boto3_way:

        def milliseconds(worker: Worker) -> float:
            return float(worker.request(delete_event())["seconds"][0]) * 1000

        milliseconds(ours)
        milliseconds(boto3_way)
        best = rounds(milliseconds, boto3_way, ours)
    return [report.Row(f"delete, {stub.OBJECTS:,} objects {DELETE}, warm", "ms", *best, 2)]


def warm(code: Code, endpoint: Endpoint) -> list[report.Row]:
    """The rows of a Lambda instance that has served requests before."""
    ten_jobs = partial(list_event, stub.user(10))
    cases: list[tuple[str, Callable[[], Event], float, int]] = [
        ("list, 10 jobs, warm", ten_jobs, 0.9, 50),
        ("list, 10 jobs, warm, its connection was closed", ten_jobs, 0.6, 1),
        (f"list, {stub.JOBS:,} jobs, warm", list_event, 4.5, 3),
        (f"get, {stub.FILES:,} files, warm", get_event, 22, 3),
        ("get-object-url, warm", url_event, 2, 300),
    ]
    rows = []
    with Worker(code.ours, endpoint) as ours, Worker(code.boto3_compiled, endpoint) as boto3_way:
        for title, event, least, calls in cases:
            check_equal(boto3_way.request(event()), ours.request(event()))

            def milliseconds(worker: Worker, event: Event, calls: int) -> float:
                if calls == 1:
                    endpoint.used("close")
                times: list[float] = worker.request(event, calls)["cpu_seconds"]
                return statistics.median(times) * 1000

            best = rounds(partial(milliseconds, event=event(), calls=calls), boto3_way, ours)
            rows.append(report.Row(title, "CPU ms", *best, least))
    return rows


def cold(code: Code, quick: Endpoint, slow: Endpoint) -> list[report.Row]:
    """The rows of a new Lambda instance, each started on demand and started ahead."""
    plain, compiled = (code.boto3_way, quick), (code.boto3_compiled, quick)
    bare = code.bare_chalice, quick
    ten_jobs, delete = partial(list_event, stub.user(10)), partial(delete_event, stub.user(10))
    cases: list[tuple[str, tuple[Path, Endpoint], Callable[[], Event], str, float, float]] = [
        ("list, 10 jobs", plain, ten_jobs, "cpu_seconds", 2.3, 0.5),
        ("list, 10 jobs: boto3 way with bytecode", compiled, ten_jobs, "cpu_seconds", 1.2, 0.5),
        ("get, 10 files", plain, partial(get_event, 10), "cpu_seconds", 2.3, 0.6),
        ("get-object-url", plain, url_event, "cpu_seconds", 3, 1),
        ("get-object-url: bare Chalice", bare, url_event, "cpu_seconds", 0.15, 0.1),
        (f"delete, 10 objects {DELETE}", (code.boto3_compiled, slow), delete, "seconds", 1, 0.45),
    ]

    def measured(
        code: Path, endpoint: Endpoint, event: Callable[[], Event], clock: str
    ) -> tuple[float, float]:
        with Worker(code, endpoint) as worker:
            response = worker.request(event())
        # A share makes the processor slower, not AWS.
        slower = response["cpu_seconds"][0] * (1 / SHARE - 1)
        handler = (response[clock][0] + slower) * 1000
        return response["cpu_imported"] * 1000 + handler, handler

    rows = []
    for title, (boto3_way, endpoint), event, clock, least, least_ahead in cases:
        measure = partial(measured, endpoint=endpoint, event=event, clock=clock)
        runs = [(measure(boto3_way), measure(code.ours)) for _ in range(ROUNDS)]
        for start, name, goal in ((0, "on demand", least), (1, "ahead", least_ahead)):
            theirs, own = (min(run[side][start] for run in runs) for side in (0, 1))
            row = report.Row(f"{title}, started {name}", report.MODELLED, theirs, own, goal)
            rows.append(row)
    return rows


def rounds(measure: Callable[[T], float], boto3_way: T, ours: T) -> tuple[float, float]:
    """The best measurement of each, taken in turn."""
    measured = [(measure(boto3_way), measure(ours)) for _ in range(ROUNDS)]
    theirs, own = zip(*measured, strict=True)
    return min(theirs), min(own)


def counts(code: Code, quick: Endpoint, slow: Endpoint) -> list[report.Row]:
    """What the first request of a new process takes of AWS; boto3_way's list reads the table."""

    def count(what: str, code: Path, endpoint: Endpoint, event: Event, **environ: str) -> float:
        with Worker(code, endpoint, **environ) as worker:
            endpoint.used()
            worker.request(event)
            return endpoint.used()[what]

    title = f"list, {stub.WIDE_JOBS:,} jobs of {stub.WIDE_BYTES // 1024} KB: read capacity"
    wide = list_event(stub.WIDE_JOBS_USER)
    theirs = count("read_units", code.boto3_way, quick, wide, JOB_LIST_INDEX="")
    rows = [report.Row(title, "units", theirs, count("read_units", code.ours, quick, wide), 50)]
    for size, most in ((10, 3), (stub.OBJECTS, 7)):
        theirs, own = (
            count("connections", each, slow, delete_event(stub.user(size)))
            for each in (code.boto3_compiled, code.ours)
        )
        title = f"delete, {size:,} objects, cold: TLS connections"
        rows.append(report.Row(title, "connections", theirs, own, most=most))
    return rows


def growth(code: Code, quick: Endpoint, slow: Endpoint) -> list[report.Growth]:
    """What lists, gets and deletes of all sizes take of a warm instance; the best time of five."""
    cases: list[tuple[str, str, Endpoint, str, Callable[[int], Event]]] = [
        ("list", "jobs", quick, "cpu_seconds", lambda size: list_event(stub.user(size))),
        ("get", "files", quick, "cpu_seconds", get_event),
        ("delete", "objects", slow, "seconds", lambda size: delete_event(stub.user(size))),
    ]
    rows = []
    for (route, what, endpoint, clock, event), size in product(cases, SIZES):
        with Worker(code.ours, endpoint) as worker:
            worker.request(event(1), calls=10)
            runs = [responses(worker, event(size)) for _ in range(4)]
            # For the first, the stub makes its responses, and may be so late that it is repeated.
            endpoint.used()
            runs.append(responses(worker, event(size)))
            used = endpoint.used()
        rows.append(
            report.Growth(
                route,
                f"{size:,} {what}",
                size,
                min(sum(response[clock][0] for response in run) for run in runs) * 1000,
                runs[-1][-1]["peak_mb"],
                used["requests"],
                used["read_units"],
                sum(len(response["body"]) for response in runs[-1]) / 1000,
            )
        )
    return rows


def responses(worker: Worker, event: Event) -> list[dict[str, Any]]:
    """The response to a request; of a list, those that its `next_cursor` leads to as well."""
    received = [worker.request(event)]
    while event["requestContext"]["resourcePath"] == "/jobs/list":
        cursor = json.loads(received[-1]["body"]).get("next_cursor")
        if not cursor:
            break
        event["multiValueQueryStringParameters"]["cursor"] = [cursor]
        received.append(worker.request(event))
    return received


def check_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuse to compare different responses, except for URL queries and expiry times."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items() if name != "expires_at"}
        return value.partition("?")[0] if isinstance(value, str) else value

    if plain(json.loads(one["body"])) != plain(json.loads(other["body"])):
        raise RuntimeError("The responses differ.")


def event(method: str, path: str, user: str = stub.user(0), **query: str | int) -> Event:
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


def get_event(files: int = stub.FILES) -> Event:
    """A job with so many files."""
    return event("GET", "/jobs/get", job_id=files)


def list_event(user: str = stub.user(stub.JOBS)) -> Event:
    return event("GET", "/jobs/list", user)


def url_event() -> Event:
    name = "a0f3a5b2-1c1d-4c7e-9d59-7c1d4d1b6a10.png"
    return event("GET", "/jobs/get-object-url", job_id=1, object_uuid=name)


def delete_event(user: str = stub.user(stub.OBJECTS)) -> Event:
    """A job that was not deleted yet."""
    return event("DELETE", "/jobs/delete", user, job_id=next(_next_job))


if __name__ == "__main__":
    main()
