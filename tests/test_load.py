"""Many callers at once, and many calls of one instance: clean answers, and nothing that grows."""

import gc
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
import urllib3
from chalice.app import Chalice

from chalicelib import aws, response
from tests.conftest import ALICE
from tests.lambda_instance import SOAK, Invocation, invoke
from tests.scripted_server import Scripted, scripted_server
from tests.strict_s3 import strict_s3
from tests.test_local import Running, running

__all__ = ["running"]  # a fixture

CALLS = 10_000 if SOAK else 2_000
WARM_UP = 500
LOAD_SECONDS = 60
CALLERS = 16


def load(url: str, tokens: dict[str, str], seconds: float) -> Counter[tuple[str, int]]:
    """Call all routes below the URL, by CALLERS at once; how often each route gave each status.

    tokens: a user's id to their ID token; a caller is one of them throughout. Raises where an
    answer is not of the contract, or holds anything of another user.
    """
    end = time.monotonic() + seconds
    http = urllib3.PoolManager(maxsize=CALLERS)

    def call_for_a_while(number: int) -> Counter[tuple[str, int]]:
        random = Random(number)
        user, token = list(tokens.items())[number % len(tokens)]
        others = set(tokens) - {user}
        counts = Counter[tuple[str, int]]()
        while time.monotonic() < end:
            job_id = random.randint(1, 20)
            method, path = random.choice(
                [
                    ("GET", "/jobs/list"),
                    ("GET", "/jobs/list?limit=3"),
                    ("GET", f"/jobs/get?job-id={job_id}"),
                    ("GET", f"/jobs/get-object-url?job-id={job_id}&object-uuid=a.png"),
                    ("GET", "/jobs/get?job-id=x"),
                    ("DELETE", f"/jobs/delete?job-id={job_id}"),
                ]
            )
            answer = http.request(
                method, url + path, headers={"Authorization": token}, retries=False
            )
            # The stage of a deployed stack lets so many a second through, and says so to the rest.
            assert answer.status in (200, 400, 404, 429), answer.data
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Access-Control-Allow-Origin"]
            assert set(answer.json()) & {"jobs", "job_info", "url", "message"}
            assert not any(other.encode() in answer.data for other in others)
            counts[path.partition("?")[0], answer.status] += 1
        return counts

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(pool.map(call_for_a_while, range(CALLERS)), Counter[tuple[str, int]]())


@pytest.mark.skipif(not SOAK, reason="a minute: make soak")
def test_many_callers_at_once_get_clean_answers_of_their_own(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    for job_id in range(1, 21):
        running.put_job(job_id)
    tokens = {running.alice: running.tokens["IdToken"], "bob": running.bobs_token}
    counts = load(running.url, tokens, LOAD_SECONDS)
    with capsys.disabled():
        print(f"\n{counts.total()} calls in {LOAD_SECONDS} s:", dict(counts))
    assert counts["/jobs/get", 200]
    assert counts["/jobs/delete", 200]


ITEM = (
    '{"userId":{"S":"u"},"jobId":{"N":"1"},"date":{"S":"d"},"status":{"S":"success"},'
    '"objectUuidNames":{"M":{"a.png":{"S":"a.png"}}}}'
)
# What get_item, query and delete_item read of an answer.
DYNAMODB = Scripted(200, f'{{"Item":{ITEM},"Items":[{ITEM}]}}')


def test_an_instance_that_answers_for_long_does_not_grow(
    app: Chalice, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects, threads and open files, after thousands of calls as after the first hundreds."""
    requests = [
        Invocation("/jobs/list", {}, ALICE),
        Invocation("/jobs/get", {"job-id": 1}, ALICE),
        Invocation("/jobs/get-object-url", {"job-id": 1, "object-uuid": "a.png"}, ALICE),
        Invocation("/jobs/delete", {"job-id": 1}, ALICE),
        Invocation("/jobs/get", {"job-id": "x"}, ALICE),
    ]
    # The test runner keeps every log line, and coverage a tracer for every thread that ever was.
    monkeypatch.setattr(response.LOG, "disabled", True)
    monkeypatch.setattr(threading, "_trace_hook", None)
    with (
        scripted_server(DYNAMODB) as dynamodb,
        strict_s3() as s3,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        aws.botocore_client.cache_clear()
        before: dict[str, int] = {}
        for number in range(CALLS):
            if number == WARM_UP:
                before = size()
            request = requests[number % len(requests)]
            s3.put(f"{ALICE}/1/a.png")
            s3.requests.clear()
            assert invoke(app, request).status == (400 if number % 5 == 4 else 200)
        after = size()
        assert len(s3.versions) < len(requests)
    aws.botocore_client.cache_clear()
    for what, most in (("objects", 200), ("threads", 0), ("files", 0), ("kibibytes", 4_096)):
        assert after[what] - before[what] <= most, what


def size() -> dict[str, int]:
    """What this process holds."""
    gc.collect()
    with open("/proc/self/status") as status:
        memory = next(line for line in status if line.startswith("VmRSS"))
    return {
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "kibibytes": int(memory.split()[1]),
    }
