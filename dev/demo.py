"""Demo jobs: one of every status, with real small files, as a processor leaves them."""

import atexit
import http.client
import json
import os
import shlex
import struct
import tempfile
import uuid
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.jobs import STATUSES
from dev.emulated_aws import (
    BUCKET,
    TABLE,
    EmulatedAws,
    Pool,
    api_environ,
    create_bucket,
    create_pool,
    create_table,
    create_user,
    emulated_aws,
    log_in,
)

EMAIL = "demo@example.com"
JOB_WITH_IMAGES = 7
JOB_TO_DELETE = 5
FAILURE = "The file is not an image"


class Job(NamedTuple):
    """What a demo job is like. Where it has results, its files that are not PNG have failed."""

    status: str
    name: str | None
    files: list[str]


# By job id, oldest first.
JOBS = {
    1: Job("success", "Sixty scans", [f"scan {number:02}.png" for number in range(1, 61)]),
    2: Job("failed_critical", "Nightly import", ["night.png"]),
    3: Job("failed", "Damaged archive", ["archive.png"]),
    4: Job("failed_requeued", "Second try", ["retry.png"]),
    5: Job("success_credits_not_restored", "Mixed folder", ["chart.png", "notes.txt"]),
    6: Job(
        "success_credits_restored",
        "Holiday, failed in part",
        ["beach.png", "Straße.png", "raw.cr2"],
    ),
    7: Job("success", "Grüße aus Köln", ["Grüße aus Köln.png", "東京の夜.png", "garden.png"]),
    8: Job("processing_40%", "Street at night", ["street.png", "lamp.png"]),
    9: Job("processing", None, ["unnamed.png"]),
    10: Job("queued", "Waiting", ["waiting.png"]),
    11: Job("uploading", "Just begun", []),
    12: Job("archived_by_hand", "Old scans", ["old.png"]),
}


def start(url: str) -> list[str]:
    """Start an emulated AWS with the demo data, which ends with this process, but not by an exec.

    Sets the environment of the API for it, and returns the lines to print when the API is ready.
    """
    running = ExitStack()
    atexit.register(running.close)
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="jobs-")))
    aws = running.enter_context(emulated_aws(folder, remove=True))
    assert aws.process.stdin is not None
    os.set_inheritable(aws.process.stdin.fileno(), True)
    pool = create_pool(aws.client("cognito-idp"))
    os.environ |= api_environ(aws, pool.arn)
    return ready_lines(url, fill(aws, pool), folder)


def fill(aws: EmulatedAws, pool: Pool) -> str:
    """Create the table, the bucket, the demo jobs and the demo user; a token of theirs."""
    create_table(aws.client("dynamodb"))
    create_bucket(aws.client("s3"))
    cognito = aws.client("cognito-idp")
    user_id = create_user(cognito, pool, EMAIL)
    table = aws.session.resource("dynamodb", endpoint_url=aws.endpoint).Table(TABLE)
    with table.batch_writer() as batch:
        for job_id, job in JOBS.items():
            item, objects = job_data(user_id, job_id, job)
            batch.put_item(item)
            put_objects(aws.endpoint, objects)
    return log_in(cognito, pool, EMAIL)["IdToken"]


def ready_lines(url: str, token: str, folder: Path) -> list[str]:
    """The line `ready`, and one curl command for each route; the token goes to a file."""
    file = folder / "token"
    file.write_text(token)
    curl = f"""curl -sS --noproxy '*' -H "Authorization: $(cat {shlex.quote(str(file))})\""""
    name = object_uuid(JOB_WITH_IMAGES, "garden.png")
    return [
        f"ready: {url}",
        f"{curl} '{url}/jobs/list'",
        f"{curl} '{url}/jobs/get?job-id={JOB_WITH_IMAGES}'",
        f"{curl} '{url}/jobs/get-object-url?job-id={JOB_WITH_IMAGES}&object-uuid={name}'",
        f"{curl} -X DELETE '{url}/jobs/delete?job-id={JOB_TO_DELETE}'",
    ]


def put_objects(endpoint: str, objects: list[tuple[str, bytes]]) -> None:
    """Put objects into the bucket. Not by boto3, which takes three times as long."""
    s3 = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    for key, body in objects:
        kind = "image/png" if key.endswith(".png") else "application/json"
        s3.request("PUT", f"/{BUCKET}/{key}", body, {"Content-Type": kind})
        response = s3.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"The emulated S3 responded {response.status} to {key}")
    s3.close()


def job_data(user_id: str, job_id: int, job: Job) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """A job's item, and its objects: key and content."""
    names = {object_uuid(job_id, file): file for file in job.files}
    has_results = job.status in STATUSES and STATUSES[job.status].has_results
    failed = [name for name in names if has_results and not name.endswith(".png")]
    prefix = f"{user_id}/{job_id}/"
    uploads = [(prefix + name, _content(name, file)) for name, file in names.items()]
    done = [(f"{prefix}DONE", b"")] if job.status != "uploading" else []
    objects = uploads + done
    if has_results:
        objects += _results(prefix, (name for name in names if name not in failed))
    item: dict[str, Any] = {
        "userId": user_id,
        "jobId": job_id,
        "filesPath": prefix,
        "contentLength": sum(len(content) for _, content in uploads),
        "creditsSpent": Decimal(len(names)) / 2,
        "objectUuidNames": names,
        "mediaLength": dict.fromkeys(names, 1),
        "failedToProcess": dict.fromkeys(failed, FAILURE),
        "email": EMAIL,
        "date": f"2026-01-{job_id:02} 12:00:00.000000000 UTC",
        "status": job.status,
    }
    return item | ({"jobName": job.name} if job.name else {}), objects


def object_uuid(job_id: int, file: str) -> str:
    """The object's name for a file of a job: the same in every run."""
    return f"{uuid.uuid5(uuid.NAMESPACE_URL, f'{job_id}/{file}')}.{file.rpartition('.')[2]}"


def png(width: int, height: int, seed: int) -> bytes:
    """A real image: a gradient between two colors."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    first, last = (
        [64 + (seed >> shift) % 160 for shift in shifts] for shifts in ((0, 8, 16), (20, 4, 12))
    )
    end = width + height
    steps = [
        bytes(a + (b - a) * at // end for a, b in zip(first, last, strict=True))
        for at in range(end)
    ]
    rows = b"".join(b"\0" + b"".join(steps[y : y + width]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _content(name: str, file: str) -> bytes:
    if not name.endswith(".png"):
        return b"no image"
    side = 8 if file.startswith("scan ") else 160
    return png(side, side * 5 // 8, zlib.crc32(name.encode()))


def _results(prefix: str, names: Iterable[str]) -> list[tuple[str, bytes]]:
    objects = []
    for name in names:
        labels = [{"label": "sky", "confidence": 0.93}, {"label": "house", "confidence": 0.61}]
        full = {"object": name, "labels": labels, "width": 160, "height": 100}
        short = {"labels": ["sky", "house"], "sharpness": 0.87}
        for suffix, result in (("json", full), ("min.json", short)):
            objects.append((f"{prefix}results/{name}.{suffix}", json.dumps(result).encode()))
    return objects
