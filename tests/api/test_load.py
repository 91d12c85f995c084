"""Many callers at once, and many calls of one instance: clean answers, and nothing that grows."""

import gc
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib import api, aws
from tests.support.events import ALICE, Invoke
from tests.support.lambda_instance import FULL, SOAK
from tests.support.running_api import Running
from tests.support.scripted_server import Scripted, scripted_server
from tests.support.strict_s3 import strict_s3

CALLS = 10_000 if SOAK else 2_000 if FULL else 500
WARM_UP = 150
CALLERS = 8
ROUNDS = 1_000 if SOAK else 20


def test_many_callers_at_once_get_clean_answers_of_their_own(running: Running) -> None:
    """Each request of two users gets the response that it gets alone."""
    running.put_job(1)
    names = running.put_job(2)
    tokens = (running.tokens["IdToken"], running.bobs_token)
    routes: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/jobs/list", {}),
        ("GET", "/jobs/list", {"limit": 1}),
        ("GET", "/jobs/get", {"job_id": 1}),
        ("GET", "/jobs/get", {"job_id": 2}),
        ("GET", "/jobs/get-object-url", {"job_id": 2, "object_uuid": min(names)}),
        ("GET", "/jobs/get", {"job_id": "x"}),
        ("DELETE", "/jobs/delete", {"job_id": 3}),
    ]

    requests = [(*route, token) for route in routes for token in tokens]

    def call(request: tuple[str, str, dict[str, Any], str]) -> tuple[int, bytes]:
        method, path, query, token = request
        answer = running(method, path, token, **query)
        # Without what changes with the time.
        return answer.status, re.sub(rb'\?[^"]*|"expires_at":"[^"]*"', b"", answer.data)

    alone = [call(request) for request in requests]
    with ThreadPoolExecutor(CALLERS) as pool:
        assert list(pool.map(call, requests * ROUNDS)) == alone * ROUNDS


ITEM = (
    '{"userId":{"S":"u"},"jobId":{"N":"1"},"date":{"S":"d"},"status":{"S":"success"},'
    '"objectUuidNames":{"M":{"a.png":{"S":"a.png"}}}}'
)
# What get_item, query and delete_item read of an answer.
DYNAMODB = Scripted(200, f'{{"Item":{ITEM},"Items":[{ITEM}]}}')


def test_an_instance_that_answers_for_long_does_not_grow(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects, threads and open files, after hundreds of calls as after the first ones."""
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/jobs/list", {}),
        ("GET", "/jobs/get", {"job-id": 1}),
        ("GET", "/jobs/get-object-url", {"job-id": 1, "object-uuid": "a.png"}),
        ("DELETE", "/jobs/delete", {"job-id": 1}),
        ("GET", "/jobs/get", {"job-id": "x"}),
    ]
    # The test runner keeps every log line, and coverage a tracer for every thread that ever was.
    monkeypatch.setattr(api.LOG, "disabled", True)
    monkeypatch.setattr(threading, "_trace_hook", None)
    with scripted_server(DYNAMODB) as dynamodb, strict_s3() as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        aws.botocore_client.cache_clear()
        before: dict[str, int] = {}
        for number in range(CALLS):
            if number == WARM_UP:
                before = size()
            s3.put(f"{ALICE}/1/a.png")
            s3.requests.clear()
            assert invoke(*requests[number % 5]).status == (400 if number % 5 == 4 else 200)
        after = size()
        assert len(s3.versions) < 5
    aws.botocore_client.cache_clear()
    for what, most in (("objects", 50), ("threads", 0), ("files", 0), ("kibibytes", 4_096)):
        assert after[what] - before[what] <= most, what


def size() -> dict[str, int]:
    for _ in range(2):  # The first one frees what the second one can collect.
        gc.collect()
    with open("/proc/self/status") as status:
        memory = next(line for line in status if line.startswith("VmRSS"))
    return {
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "kibibytes": int(memory.split()[1]),
    }
