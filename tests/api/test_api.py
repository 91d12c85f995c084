"""chalicelib/api.py: the headers and the log line of every response, and other events."""

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib import api
from dev.emulated_aws import BUCKET
from tests.support.events import ALICE, QUERY, ROUTES, Context, Invoke, Response, lambda_event
from tests.support.lambda_instance import HEADERS, check_response
from tests.support.moto_aws import Aws


def test_a_wrong_method_gets_405_with_all_headers(invoke: Invoke) -> None:
    response = invoke("POST", "/jobs/list")
    assert (response.status, response.json) == (405, {"message": "Unsupported method: POST"})
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        None,
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
        {"version": "2.0", "requestContext": {"http": {"method": "GET", "path": "/jobs/list"}}},
        {"requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "GET", "path": "/"},
        {"requestContext": None},
        {"requestContext": "x"},
        {"requestContext": {"resourcePath": "/jobs/list"}},
        {"requestContext": {"resourcePath": "/jobs/list", "httpMethod": "GET"}},
        lambda_event("GET", "/no/such/route"),
        {**lambda_event("GET", "/jobs/list"), "headers": "x"},
        {**lambda_event("GET", "/jobs/list"), "multiValueQueryStringParameters": "x"},
    ],
)
def test_an_event_that_is_not_a_request_gets_400_and_one_log_line(
    event: Any, app: Any, log: list[dict[str, Any]]
) -> None:
    response = app(event, Context(29))
    response = Response(response["statusCode"], response["headers"], response["body"])
    check_response("GET", "unknown", response)
    assert response.headers.items() >= HEADERS.items()
    assert response.status == 400
    assert response.json == {"message": "The event is not a request of this API"}
    [line] = log
    assert (line["status"], line["level"], line["route"]) == (400, "INFO", None)
    assert line["request_id"] == "5b6e0a1c-request-id"
    assert line["message"] == "The event is not a request of this API"


def test_each_request_has_one_log_line_of_ids_and_counts_and_nothing_else(
    emulated: Aws, invoke: Invoke, log: list[dict[str, Any]]
) -> None:
    """No token, URL, file name or e-mail address."""
    emulated.put_finished_job()
    emulated.put_objects(f"{ALICE}/1/a.png", f"{ALICE}/1/a.png", f"{ALICE}/1/b.png")
    emulated.s3.delete_object(Bucket=BUCKET, Key=f"{ALICE}/1/b.png")
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/1/c.mov")
    query = QUERY | {"download-as": "Grüße.png"}
    for path, method in ROUTES.items():
        invoke(method, path, query, headers={"Authorization": "a-token"})
    invoke("GET", "/jobs/get", {"job-id": "x"})
    invoke("POST", "/jobs/list")
    expected: list[dict[str, Any]] = [
        {"route": "GET /jobs/list", "status": 200, "user_id": ALICE, "jobs": 1},
        {"route": "GET /jobs/get", "status": 200, "user_id": ALICE, "job_id": 1, "urls": 4},
        {"route": "GET /jobs/get-object-url", "status": 200, "user_id": ALICE, "job_id": 1}
        | {"urls": 1},
        {"route": "DELETE /jobs/delete", "status": 200, "user_id": ALICE, "job_id": 1}
        | {"objects_deleted": 1, "versions_deleted": 3, "uploads_aborted": 1},
        {"route": "GET /jobs/get", "status": 400, "user_id": ALICE},
        {"route": "POST /jobs/list", "status": 405},
    ]
    assert len(log) == len(expected)
    for line, fields in zip(log, expected, strict=True):
        assert re.fullmatch(r"[0-9]+\.[0-9]", str(line.pop("milliseconds")))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("timestamp"))
        assert line.pop("level") == "INFO"
        assert line == {"request_id": "5b6e0a1c-request-id", **fields}


def test_a_log_line_has_its_time_in_utc_and_the_milliseconds_that_the_request_took(
    invoke: Invoke, log: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.api.time.perf_counter", iter([100, 100.50004]).__next__)
    try:
        with monkeypatch.context() as environ:
            environ.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            invoke("GET", "/jobs/get")
    finally:
        time.tzset()
    logged = datetime.fromisoformat(log[0]["timestamp"])
    assert abs(datetime.now(UTC) - logged) < timedelta(minutes=1)
    assert log[0]["milliseconds"] == 500.0


@pytest.mark.parametrize(
    "variable", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]
)
def test_a_5xx_is_logged_with_its_cause_but_without_secrets(
    variable: str, invoke: Invoke, log: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("GET https://x.example/ failed for a-token")

    monkeypatch.setattr("chalicelib.aws.botocore_client", fail)
    monkeypatch.setenv(variable, "a-token\r")
    invoke("GET", "/jobs/list")
    [line] = log
    assert (line["level"], line["status"]) == ("ERROR", 500)
    assert "a-token" not in json.dumps(line)
    assert line["cause"].startswith("Traceback (most recent call last):\n  File ")
    assert "KeyError: 'GET https://x.example/" in line["cause"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "GET https://h/x?X-Amz-Signature=abc failed for a@example.com: XXXX a-token",
            "GET https://h/<removed> failed for <removed>: XXXX <removed>",
        ),
        ('on "https://b.s3.x.com/u/1/a%20b.png"', 'on "https://b.s3.x.com/<removed>"'),
        ('on "http://[::1]:9000/b/u/1/a.png?uploadId=x"', 'on "http://[::1]:9000/<removed>"'),
        (
            "no s3:DeleteObject arn:aws:s3:::b/u/1/a.png",
            "no s3:DeleteObject arn:aws:s3:::b/<removed>",
        ),
        ('File "/var/task/app.py", line 3', 'File "/var/task/app.py", line 3'),
        ('on "https://dynamodb.x.com/"', 'on "https://dynamodb.x.com/"'),
    ],
)
def test_secrets_and_objects_keys_are_taken_out_of_a_logged_text(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    assert api.without_secrets(text) == expected


def test_the_log_goes_to_stdout_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.Logger("of this test only")
    monkeypatch.setattr(api, "LOG", log)
    api.configure_log("ERROR")
    api.configure_log("ERROR")
    [handler] = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
    assert log.level == logging.ERROR
    assert not log.propagate
