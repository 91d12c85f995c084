"""Deleting a job through the Lambda handler, on a strict S3 that fails in all the ways S3 does.

A file never outlives its entry, and the number of requests is bounded.
"""

import time
from collections.abc import Callable, Iterator
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from chalicelib import aws, deletion
from chalicelib.config import Settings
from chalicelib.errors import ApiError
from tests.support.events import ALICE, Invoke, Response
from tests.support.lambda_instance import FULL
from tests.support.strict_s3 import NAMESPACE, StrictS3, strict_s3

PREFIX = f"{ALICE}/1/"
# Objects, S3's deletes a second, and the most requests. A slower S3 refuses as often with fewer.
THROTTLED = (30_000, 3_500, 250) if FULL else (2_000, 1_000, 40)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictS3]:
    with strict_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        aws.botocore_client.cache_clear()
        yield server
        aws.botocore_client.cache_clear()
        assert server.outlived == [], "these outlived their entry"


Delete = Callable[..., Response]


@pytest.fixture
def delete(s3: StrictS3, invoke: Invoke) -> Delete:
    """Deletes the job, whose entry is then gone if and only if the status is 200."""

    def delete(seconds: float = 27, max_requests: int = 30) -> Response:
        s3.entry = True
        s3.requests.clear()
        response = invoke("DELETE", "/jobs/delete", {"job-id": 1}, seconds_left=seconds)
        assert s3.counted().total() <= max_requests, s3.counted()
        left = s3.below(PREFIX)
        if response.status == 200:
            assert left == []
            assert not s3.entry, "the entry outlived its files"
        else:
            assert s3.entry, f"the entry went before {len(left)} others, like {left[:1]}"
        return response

    return delete


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; none is made."""
    asked: list[float] = []
    monkeypatch.setattr(aws, "pause_or_end", lambda seconds, *_: asked.append(seconds))
    return asked


@pytest.mark.parametrize(
    "name",
    [
        "a\x01b.png",
        "a\x10b.png",
        "a\x1f.png",
        "\ufffe",
        "\uffff.png",
        # These can be expressed in XML, and have to survive it.
        "a\tb",
        "a\nb",
        "a\rb",
        "a b+c%41&<é>.png",
        "\x7f\x85\u2028",
        "🏖.png",
        "results/../x",
    ],
)
def test_a_key_of_any_characters_is_deleted(name: str, delete: Delete, s3: StrictS3) -> None:
    s3.put(PREFIX + name, PREFIX + name, PREFIX + "other.png")
    s3.mark_deleted(PREFIX + name)
    s3.start_upload(PREFIX + name)
    assert delete().status == 200


@pytest.mark.parametrize("root", ["ListVersionsResult", f'ListVersionsResult xmlns="{NAMESPACE}"'])
@pytest.mark.parametrize("encoding", ["", "<EncodingType>url</EncodingType>"])
def test_a_listing_of_versions_is_the_one_that_boto3_parses(
    root: str, encoding: str, settings: Settings, s3: StrictS3
) -> None:
    """The differential test of _parse_versions, for what a deletion reads."""
    key = "<Key>a+b%2Bc%41&amp;%C3%A9&#10;é</Key>"
    # The declaration is wrong, and not all members are S3's.
    body = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
    <{root}>
      <Version>{key}<VersionId/><IsLatest>true</IsLatest><Size>0</Size></Version>
      <DeleteMarker>{key}<VersionId>2</VersionId><IsLatest>true</IsLatest><Size>0</Size>
      </DeleteMarker>
      <Version>{key}<VersionId>null</VersionId><Size>0</Size></Version>
      <IsTruncated>true</IsTruncated>{encoding}
      <ResponseMetadata/>
      <NextKeyMarker>a+b%2B</NextKeyMarker><NextVersionIdMarker/>
    </{root.split()[0]}>"""
    s3.failures["ListObjectVersions"] = repeat(body.encode())
    request = {"Bucket": settings.job_files_bucket, "Prefix": ""}
    theirs = boto3.client("s3", region_name="eu-central-1").list_object_versions(**request)
    ours = aws.Client("s3", settings, lambda: 29).list_object_versions(**request)
    for name in ("IsTruncated", "NextKeyMarker", "NextVersionIdMarker"):
        assert ours[name] == theirs[name]
    for version in theirs["Versions"]:
        version["Size"] = str(version["Size"])  # Not used, but for whether there is one.
        version.setdefault("IsLatest", False)
    assert ours["Versions"] == theirs["Versions"]
    assert ours["DeleteMarkers"] == theirs["DeleteMarkers"]


def test_an_upload_is_aborted_even_if_its_key_is_not_encoded(delete: Delete, s3: StrictS3) -> None:
    """S3 encodes keys on request; moto does not."""
    s3.encodes_keys = False
    s3.start_upload(f"{PREFIX}a b+c%41é.mov")
    assert delete(seconds=3).status == 200


def test_keys_beyond_xml_cost_one_request_each_and_the_others_one_a_batch(
    delete: Delete, s3: StrictS3
) -> None:
    s3.put(*(f"{PREFIX}{number}\x01" for number in range(20)))
    s3.put(*(f"{PREFIX}{number}" for number in range(400)))
    assert delete().status == 200
    assert s3.counted()["DeleteObject"] == 20
    assert s3.counted()["DeleteObjects"] == 1


@pytest.mark.parametrize(
    "code",
    ["SlowDown", "InternalError", "OperationAborted", "TooManyRequests", "RequestTimeout"],
)
def test_a_transient_error_of_a_key_is_retried_within_the_request(
    code: str, delete: Delete, s3: StrictS3
) -> None:
    s3.put(*(f"{PREFIX}{number}" for number in range(10)), f"{PREFIX}7\x01")
    s3.key_errors[f"{PREFIX}3"] = iter([code, code, code])
    s3.key_errors[f"{PREFIX}7\x01"] = iter([code])
    assert delete().status == 200
    assert s3.counted()["DeleteObjects"] == 4
    assert s3.counted()["DeleteObject"] == 2


@pytest.mark.parametrize("operation", ["DeleteObjects", "DeleteItem"])
def test_a_delete_ends_well_however_often_its_requests_are_throttled(
    operation: str, delete: Delete, s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "MAX_PAUSE_SECONDS", 0.01)
    s3.put(f"{PREFIX}a.png")
    s3.failures[operation] = iter([(503, "ServiceUnavailable")] * 12)
    assert delete().status == 200
    assert s3.counted()[operation] == 13


def test_each_throttled_request_doubles_the_pause_and_each_other_one_halves_it(
    delete: Delete,
    s3: StrictS3,
    pauses: list[float],
    log: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aws, "PARALLEL_REQUESTS", 1)
    monkeypatch.setattr(deletion, "KEYS_A_REQUEST", 1)
    s3.put(*(f"{PREFIX}{number}" for number in range(8)))
    s3.key_errors[f"{PREFIX}0"] = iter(["SlowDown"] * 3)
    assert delete().status == 200
    assert pauses == [0.1, 0.2, 0.4, 0.2, 0.1, 0.05, 0.025, 0.0125]
    assert log[0]["objects_deleted"] == 8


def test_a_pause_does_not_grow_beyond_its_limit(
    delete: Delete, s3: StrictS3, pauses: list[float]
) -> None:
    """Else S3 is waited for long after it has recovered."""
    s3.put(f"{PREFIX}a")
    s3.key_errors[f"{PREFIX}a"] = iter(["SlowDown"] * 8)
    assert delete().status == 200
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2]


def test_a_transient_error_that_stays_ends_with_503_when_the_time_is_over(
    delete: Delete, s3: StrictS3
) -> None:
    s3.put(f"{PREFIX}good", f"{PREFIX}bad")
    s3.key_errors[f"{PREFIX}bad"] = iter(lambda: "SlowDown", "")
    started = time.monotonic()
    response = delete(seconds=3)
    assert response.status == 503
    assert response.headers["Retry-After"] == "5"
    assert s3.below(PREFIX) == [f"{PREFIX}bad"]
    # Not given up while a request would still have fitted, and not beyond the end.
    assert 1 < time.monotonic() - started < 3
    s3.key_errors.clear()
    assert delete().status == 200


def test_one_request_deletes_many_objects_at_the_pace_that_s3_takes(
    delete: Delete, s3: StrictS3
) -> None:
    """The number of requests is bounded although S3 refuses most of them."""
    objects, s3.deletes_a_second, max_requests = THROTTLED
    s3.put(*(f"{PREFIX}{number}" for number in range(objects)))
    assert delete(max_requests=max_requests).status == 200


@pytest.mark.parametrize("status", [204, 404])
def test_an_upload_that_stays_listed_keeps_no_file_from_being_deleted(
    status: int, delete: Delete, s3: StrictS3
) -> None:
    s3.put(f"{PREFIX}a.png")
    s3.start_upload(f"{PREFIX}b.png")
    s3.on_abort = lambda upload: status
    response = delete(seconds=3, max_requests=60)
    assert response.status == 503
    assert s3.below(PREFIX) == [f"{PREFIX}b.png"]
    assert not s3.versions


def test_an_upload_that_disappears_late_is_awaited_with_growing_pauses(
    delete: Delete, s3: StrictS3, pauses: list[float]
) -> None:
    s3.put(f"{PREFIX}a.png")
    s3.start_upload(f"{PREFIX}b.png")
    too_early = iter([204] * 5)
    s3.on_abort = lambda upload: next(too_early, 0) or s3.abort(upload)
    assert delete().status == 200
    assert pauses == [0.4, 0.8, 1.6, 3.2, 3.2]


def test_one_keys_uploads_and_versions_on_several_pages_go_in_the_first_round(
    delete: Delete, s3: StrictS3
) -> None:
    s3.page_size = 2
    for _ in range(5):
        s3.start_upload(f"{PREFIX}a b.mov")
        s3.put(f"{PREFIX}a b.mov")
    assert delete().status == 200
    assert s3.counted()["AbortMultipartUpload"] == 5
    # Three pages each, and one that is empty.
    assert s3.counted()["ListMultipartUploads"] == 4
    assert s3.counted()["ListObjectVersions"] == 4


def test_an_upload_that_completes_instead_of_being_aborted_is_deleted(
    delete: Delete, s3: StrictS3, log: list[dict[str, Any]]
) -> None:
    s3.start_upload(f"{PREFIX}late.mov")
    s3.on_abort = s3.complete_upload
    assert delete().status == 200
    assert (log[0]["objects_deleted"], log[0]["uploads_aborted"]) == (1, 0)


def test_nothing_more_is_deleted_once_a_listing_has_failed(
    delete: Delete, s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "KEYS_A_REQUEST", 1)
    monkeypatch.setattr(deletion, "PAGES_LISTED_FIRST", 1)
    s3.page_size = aws.PARALLEL_REQUESTS + 1
    s3.put(*(f"{PREFIX}{number:02}" for number in range(s3.page_size + 1)))
    s3.latency_seconds = 0.1
    s3.failures["ListObjectVersions"] = iter([0, (403, "AccessDenied")])
    s3.failures["DeleteObjects"] = iter([1] * aws.PARALLEL_REQUESTS)
    assert delete().status == 500
    # The first are under way. One more is waiting for a thread.
    assert s3.counted()["DeleteObjects"] == aws.PARALLEL_REQUESTS


@pytest.mark.parametrize("keys", [[f"{PREFIX}a.png"], []], ids=["a file", "no file"])
def test_the_last_look_is_at_the_uploads_and_then_at_the_versions(
    keys: list[str], delete: Delete, s3: StrictS3
) -> None:
    s3.put(*keys)
    assert delete().status == 200
    assert s3.requests[-2:] == ["ListObjectVersions", "DeleteItem"]
    # The first two listings are concurrent; another one of the uploads ends before the last look.
    assert s3.counted()["ListMultipartUploads"] == 2
    assert s3.counted()["ListObjectVersions"] == 2
    assert s3.counted()["DeleteObjects"] == len(keys)


def test_what_s3_refuses_stays_with_the_entry_and_the_rest_is_deleted(
    delete: Delete, s3: StrictS3, log: list[dict[str, Any]]
) -> None:
    s3.page_size = 100
    s3.put(*(f"{PREFIX}{number:04}" for number in range(1_000)))
    s3.put(f"{PREFIX}0003\x01")
    for name in ("b.mov", "c.mov"):
        s3.start_upload(PREFIX + name)
    s3.failures["AbortMultipartUpload"] = iter([(403, "AccessDenied")])
    locked = [f"{PREFIX}{number:04}" for number in range(120)]
    for key in [*locked, f"{PREFIX}0003\x01"]:
        s3.key_errors[key] = iter(lambda: "AccessDenied", "")
    response = delete(max_requests=60)
    assert response.status == 500
    [upload] = [key for key, _ in s3.uploads]
    assert s3.below(PREFIX) == sorted([*locked, f"{PREFIX}0003\x01", upload])
    [line] = log
    assert "S3 refused to delete: {'AccessDenied': 122}" in line["cause"]
    assert PREFIX in line["cause"]


def test_what_s3_refuses_in_a_later_round_is_a_500_too(delete: Delete, s3: StrictS3) -> None:
    s3.start_upload(f"{PREFIX}late.mov")
    s3.on_abort = s3.complete_upload
    s3.key_errors[f"{PREFIX}late.mov"] = iter(lambda: "AccessDenied", "")
    assert delete().status == 500
    assert s3.below(PREFIX) == [f"{PREFIX}late.mov"]


def test_a_delete_of_many_pages_makes_progress_in_a_short_time(
    delete: Delete, s3: StrictS3
) -> None:
    s3.page_size, s3.latency_seconds = 10, 0.2
    s3.put(*(f"{PREFIX}{number:03}" for number in range(100)))
    assert delete(seconds=3).status == 503
    assert s3.counted()["DeleteObjects"] > 0
    assert len(s3.versions) < 100


def test_forgotten_connections_cost_a_delete_one_time_out(delete: Delete, s3: StrictS3) -> None:
    for _ in range(2):
        s3.put(*(f"{PREFIX}{number}\x01" for number in range(20)))
        started = s3.oldest_connection = time.monotonic()
        assert delete(max_requests=60).status == 200
    assert 5 < time.monotonic() - started < 12
    # The first two listings are concurrent, then S3 has new connections. DynamoDB has its own.
    assert 1 <= s3.forgotten <= 3


def test_an_error_without_a_version_id_is_of_an_object_without_versions() -> None:
    errors = [{"Key": "a.png", "Code": "InternalError"}]
    s3 = SimpleNamespace(delete_objects=lambda **_: {"Errors": errors})
    batch = [("a.png", "null"), ("b.png", "null")]
    found = deletion.Deletion(s3, "b", "p", {}, lambda: 29).delete_batch(batch)
    assert found == {("a.png", "null"): "InternalError"}


NOT_A_LISTING = {
    "empty": b"",
    "XHTML": b"<html><body>Welcome</body></html>",
    "HTML": b"<!DOCTYPE html><p>Welcome<br></p>",
    "no marker": b"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
    "half a marker": b"<ListVersionsResult><IsTruncated>true</IsTruncated>"
    b"<NextKeyMarker>a</NextKeyMarker></ListVersionsResult>",
}


@pytest.mark.parametrize("operation", ["ListObjectVersions", "ListMultipartUploads"])
@pytest.mark.parametrize("body", NOT_A_LISTING.values(), ids=NOT_A_LISTING)
def test_a_200_that_is_not_a_whole_listing_is_retried(
    body: bytes, operation: str, delete: Delete, s3: StrictS3, settings: Settings
) -> None:
    s3.put(f"{PREFIX}a.png")
    s3.start_upload(f"{PREFIX}b.png")
    s3.failures[operation] = iter([body])
    assert delete().status == 200
    s3.put(f"{PREFIX}a.png")
    s3.failures[operation] = iter([body] * 100)
    # Made before, which takes long on a busy machine.
    aws.botocore_client(settings, "s3", aws.READ_SECONDS[-1])
    assert delete(seconds=1.5).status == 503
    assert s3.entry


@pytest.mark.parametrize("operation", ["AbortMultipartUpload", "DeleteObject"])
def test_the_cause_of_a_request_without_a_response_holds_no_key(
    operation: str, delete: Delete, s3: StrictS3, log: list[dict[str, Any]]
) -> None:
    s3.put(f"{PREFIX}name of a file\x01")
    s3.start_upload(f"{PREFIX}name of a file")
    s3.failures[operation] = iter([s3.HANG_UP] * 1_000)
    assert delete(seconds=2, max_requests=100).status == 503
    assert "Connection was closed" in log[0]["cause"]
    assert "name%20of" not in log[0]["cause"]
    assert ALICE not in log[0]["cause"]


def test_nothing_runs_past_the_end_if_s3_never_responds(delete: Delete, s3: StrictS3) -> None:
    """delete() checks that time is left."""
    s3.put(f"{PREFIX}a.png")
    s3.latency_seconds = 60
    assert delete(seconds=3.4, max_requests=8).status == 503


def test_a_read_time_out_always_fits_the_time_that_is_left() -> None:
    for tenths in range(300):
        left = tenths / 10
        try:
            read = aws.read_timeout(left, longest=10)
        except ApiError:
            assert left < 1.5
        else:
            assert min(aws.CONNECT_SECONDS, read) + read < left
            # As long as a slow response takes, as long as there is time.
            assert read >= 5 or left < 6.5
            assert aws.read_timeout(left, longest=5) == min(read, 5)
    assert aws.FIRST_READ_SECONDS["dynamodb"] == 2


def test_ten_pages_are_listed_before_they_are_deleted_and_others_while(
    delete: Delete, s3: StrictS3
) -> None:
    # The clients are made before: that may take longer than the latency.
    assert delete().status == 200
    s3.page_size, s3.latency_seconds = 5, 0.1
    s3.put(*(f"{PREFIX}{number:02}" for number in range(50)))
    assert delete(max_requests=50).status == 200
    assert {"ListMultipartUploads", "ListObjectVersions"} in s3.concurrent
    assert {"DeleteObjects", "ListObjectVersions"} not in s3.concurrent
    assert s3.counted()["ListObjectVersions"] == 11
    s3.put(*(f"{PREFIX}{number:02}" for number in range(80)))
    assert delete(max_requests=150).status == 200
    assert {"DeleteObjects", "ListObjectVersions"} in s3.concurrent
    # Nothing else happens during the last look.
    assert s3.requests[-2:] == ["ListObjectVersions", "DeleteItem"]


def test_memory_is_bounded_by_pages_and_not_by_versions() -> None:
    """A listing of many pages is deleted page by page: few deletions are ever pending."""
    first = deletion.PAGES_LISTED_FIRST
    submitted: list[Any] = []
    awaited: list[Any] = []
    pending: list[int] = []

    def list_object_versions(**request: Any) -> Any:
        pending.append(len(submitted) - len(awaited))
        number = int(request.get("KeyMarker", 0)) + 1
        assert len(submitted) == (0 if number <= first else 2 * (number - 1))
        versions = [{"Key": str(i), "VersionId": str(number)} for i in range(1_000)]
        markers = {"NextKeyMarker": str(number), "NextVersionIdMarker": "x"}
        return {"Versions": versions, "IsTruncated": number < 40, **markers}

    def submit(work: Any, batch: Any) -> Any:
        submitted.append(batch)
        return SimpleNamespace(result=lambda: awaited.append(batch))

    s3 = SimpleNamespace(list_object_versions=list_object_versions)
    rounds = deletion.Deletion(s3, "b", "p", {}, lambda: 29)
    _, last = rounds.start_deletions(SimpleNamespace(submit=submit))
    assert len(submitted) == 80
    assert max(pending) <= 3 * aws.PARALLEL_REQUESTS
    assert len(last) <= 2 * aws.PARALLEL_REQUESTS
