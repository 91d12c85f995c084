"""app.py: the four routes through the Lambda handler, on moto."""

import base64
import hmac
import json
import re
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib import aws, jobs
from chalicelib.config import Settings
from dev.emulated_aws import BUCKET
from tests.support.events import ALICE, BOB, QUERY, ROUTES, Invoke, Response, refused
from tests.support.moto_aws import NAMES, Aws

each_route = pytest.mark.parametrize("path", ROUTES)
each_etag = pytest.mark.parametrize("path", ["/jobs/list", "/jobs/get"])
pytestmark = pytest.mark.usefixtures("one_window")


def pages(invoke: Invoke, path: str, query: dict[str, Any]) -> list[Response]:
    """All pages, each of which fits Lambda's response."""
    found = [invoke("GET", path, query)]
    while cursor := found[-1].json.get("next_cursor"):
        found.append(invoke("GET", path, query | {"cursor": cursor}))
        assert len(found) < 100, "paging does not end"
    assert all(escaped_bytes(page.body) <= 6_000_000 for page in found)
    return found


def escaped_bytes(body: str) -> int:
    return len(json.dumps(body))


# --- GET /jobs/list


def test_the_list_is_the_callers_newest_first(emulated: Aws, invoke: Invoke) -> None:
    emulated.put_finished_job(1, date="2020-01-01 12:00:00.000000000 UTC")
    emulated.put_job(ALICE, 2, date="2020-01-02")
    emulated.put_job(BOB, 3)
    response = invoke("GET", "/jobs/list")
    assert response.status == 200
    assert [job["job_id"] for job in response.json["jobs"]] == [2, 1]
    assert response.json["jobs"][1] == {
        "job_id": 1,
        "job_name": "Job Name",
        "date": "2020-01-01 12:00:00.000000000 UTC",
        "total_size": 5020,
        "credits_spent": 2.5,
        "status": "success",
        "status_meaning": "Job completed successfully",
        "progress": None,
        "finished": True,
    }
    assert list(response.json) == ["jobs"]


@pytest.mark.parametrize("index", ["byDate", ""])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 1000])
def test_pages_of_any_limit_give_every_job_once_and_the_last_has_no_cursor(
    limit: int,
    index: str,
    emulated: Aws,
    invoke: Invoke,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.settings", settings._replace(job_list_index=index))
    for job_id in range(1, 7):
        # Two jobs of one date: the position needs both sort keys.
        emulated.put_job(ALICE, job_id, date=f"2026-{job_id // 2}")
    if not index:  # The table also lists what no index can hold.
        emulated.table.put_item(Item={"userId": ALICE, "jobId": 5})
    emulated.put_job(ALICE, 6, date="d" * (1_024 if index else 2_000))
    found = [page.json["jobs"] for page in pages(invoke, "/jobs/list", {"limit": limit})]
    assert sorted(job["job_id"] for jobs in found for job in jobs) == [1, 2, 3, 4, 5, 6]
    assert [len(jobs) for jobs in found[:-1]] == [limit] * ((6 - 1) // limit)


def test_a_limit_also_limits_what_is_read(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Mock(wraps=jobs.list_jobs)
    monkeypatch.setattr(jobs, "list_jobs", recorder)
    assert invoke("GET", "/jobs/list", {"limit": "5"}).status == 200
    assert recorder.call_args.args[-1] == 5


def test_a_cursor_is_good_for_its_caller_and_route_only(emulated: Aws, invoke: Invoke) -> None:
    for user in (ALICE, BOB):
        for job_id in (1, 2):
            emulated.put_job(user, job_id)
    cursor = invoke("GET", "/jobs/list", {"limit": "1"}).json["next_cursor"]
    for path, query, user in (
        ("/jobs/list", {}, BOB),
        ("/jobs/get", {"job-id": "1"}, ALICE),
        ("/jobs/get", {"job-id": "1"}, BOB),
    ):
        response = invoke("GET", path, query | {"cursor": cursor}, user=user)
        assert (response.status, response.json) == (400, refused("cursor"))
    assert invoke("GET", "/jobs/list", {"cursor": cursor}).status == 200


LIST = ["list", "byDate"]
GET = ["get", "1", "False"]
FORGED = [
    *[(LIST, payload) for payload in ("5", "null", '"7"', "{}", '["7",{"x":1}]', '["7"]', "[]")],
    *[(LIST, payload) for payload in ('["7","d","e"]', '[7,"d"]', "", "x", "\xff", "[" * 4000)],
    *[(LIST, json.dumps(["7", date])) for date in ("", "d" * 1025, "é" * 600, "\ud800")],
    *[(LIST, json.dumps([id_, "d"])) for id_ in ("x", "", "1.5.2", "9" * 39, "1e9", "٣", "7\n")],
    *[(GET, payload) for payload in ("5", "null", "[]", '["a","b"]', "[1]", "{}", '{"a": 1}')],
]


def test_a_forged_cursor_gets_400_although_its_tag_is_right(
    emulated: Aws, invoke: Invoke, settings: Settings
) -> None:
    emulated.put_job(ALICE, 1)
    deployment = settings.user_pool_arn + settings.job_requests_table

    def with_cursor(request_scope: list[str], payload: str) -> Response:
        scope = json.dumps([deployment, ALICE, *request_scope]).encode()
        encoded = payload.encode("latin-1" if payload == "\xff" else "utf-8")
        tag = hmac.digest(scope, encoded, "sha256")[:16]
        cursor = base64.urlsafe_b64encode(tag + encoded).decode().rstrip("=")
        return invoke("GET", f"/jobs/{request_scope[0]}", {"cursor": cursor, "job-id": "1"})

    for forged in FORGED:
        response = with_cursor(*forged)
        assert (response.status, response.json) == (400, refused("cursor")), forged
    assert with_cursor(LIST, '["7","d"]').status == 200


def test_a_list_that_would_outgrow_lambdas_response_ends_early_and_goes_on(
    emulated: Aws, invoke: Invoke
) -> None:
    with emulated.table.batch_writer() as batch:
        for job_id in range(1, 61):
            name = '"\\' * 15_000 + "é" * 2_000
            batch.put_item({"userId": ALICE, "jobId": job_id, "date": "d", "jobName": name})
    found = pages(invoke, "/jobs/list", {})
    seen = [job["job_id"] for page in found for job in page.json["jobs"]]
    assert sorted(seen) == list(range(1, 61))
    assert len(found) == 2
    assert escaped_bytes(found[0].body) > 5_800_000


# --- GET /jobs/get


def test_a_job_comes_whole_with_urls_of_its_results(emulated: Aws, invoke: Invoke) -> None:
    emulated.put_finished_job(date="2020")
    response = invoke("GET", "/jobs/get", {"job-id": "1"})
    assert response.status == 200
    assert response.json["job_info"] == {
        "user_id": ALICE,
        "job_id": 1,
        "job_name": "Job Name",
        "date": "2020",
        "total_size": 5020,
        "credits_spent": 2.5,
        "email": "alice@example.com",
        "object_uuid_names": NAMES,
        "media_length": dict.fromkeys(NAMES, 1),
        "failed_to_process": {"broken.png": "No image"},
        "status": "success",
        "status_meaning": "Job completed successfully",
        "progress": None,
        "finished": True,
    }
    assert list(response.json) == ["job_info", "results", "expires_at"]
    assert list(response.json["results"]) == ["a.png", "b.png"]
    for name, urls in response.json["results"].items():
        assert urlsplit(urls["full"]).path == f"/{ALICE}/1/results/{name}.json"
        assert urlsplit(urls["min"]).path == f"/{ALICE}/1/results/{name}.min.json"


@pytest.mark.parametrize("path", ["/jobs/get", "/jobs/get-object-url", "/jobs/delete"])
def test_another_users_job_is_like_a_missing_one(path: str, emulated: Aws, invoke: Invoke) -> None:
    emulated.put_job(BOB, 1)
    emulated.put_objects(f"{BOB}/1/a.png")
    theirs, missing = (invoke(ROUTES[path], path, QUERY | {"job-id": id_}) for id_ in ("1", "2"))
    assert (theirs.status, theirs.headers) == (missing.status, missing.headers)
    # Alike but for the id that the caller has sent, and the signature over it.
    bodies = [re.sub(rf"(?<={ALICE}/)\d|(?<=Signature=)\w+", "", a.body) for a in (theirs, missing)]
    assert bodies[0] == bodies[1]
    if path == "/jobs/get":
        expected = refused("job-id", "The job does not exist")
        assert (theirs.status, theirs.json) == (404, expected)
    assert emulated.versions() == [f"{BOB}/1/a.png"]
    assert emulated.table.scan()["Count"] == 1


@pytest.mark.parametrize("status", ["uploading", "processing_10%", "success", "failed"])
def test_the_urls_of_all_objects_are_included_on_request(
    status: str, emulated: Aws, invoke: Invoke, log: list[dict[str, Any]]
) -> None:
    emulated.put_finished_job(status=status)
    plain = invoke("GET", "/jobs/get", {"job-id": "1"})
    assert "object_urls" not in plain.json
    response = invoke("GET", "/jobs/get", {"job-id": "1", "include": "object-urls"})
    assert list(response.json["object_urls"]) == sorted(NAMES)
    assert log[-1]["urls"] == 2 * len(response.json["results"]) + len(NAMES)
    for name, url in response.json["object_urls"].items():
        query = {"job-id": "1", "object-uuid": name}
        assert url == invoke("GET", "/jobs/get-object-url", query).json["url"]
    assert response.json["results"] == plain.json["results"]
    assert response.json["job_info"] == plain.json["job_info"]
    assert response.headers["ETag"] != plain.headers["ETag"]


def test_object_urls_and_results_page_together_by_name(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x" * 3000)
    names = thousand_files()
    failed = dict.fromkeys(list(names)[::3], "No image")
    emulated.put_finished_job(objectUuidNames=names, failedToProcess=failed)
    query = {"job-id": "1", "include": "object-urls"}
    found = pages(invoke, "/jobs/get", query)
    assert len(found) > 1
    for page in found:
        assert set(page.json["results"]) == set(page.json["object_urls"]) - set(failed)
        assert page.json["job_info"] == found[0].json["job_info"]
    assert escaped_bytes(found[0].body) > 5_900_000
    assert [name for page in found for name in page.json["object_urls"]] == sorted(names)
    # A cursor is bound to `include`, the job and the caller too.
    emulated.put_finished_job(2)
    emulated.put_job(BOB, 1)
    cursor = {"cursor": found[0].json["next_cursor"]}
    assert invoke("GET", "/jobs/get", query | cursor).status == 200
    assert invoke("GET", "/jobs/get", {"job-id": "1"} | cursor).status == 400
    assert invoke("GET", "/jobs/get", query | cursor | {"job-id": "2"}).status == 400
    assert invoke("GET", "/jobs/get", query | cursor, user=BOB).status == 400


def test_objects_without_results_are_no_reason_for_another_page(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"a.png": "a", "b.png": "b"}
    emulated.put_finished_job(objectUuidNames=names, failedToProcess={"b.png": "No image"})
    monkeypatch.setattr("chalicelib.paging.MAX_BYTES_OF_ROWS", 1)
    response = invoke("GET", "/jobs/get", {"job-id": "1"})
    assert list(response.json["results"]) == ["a.png"]
    assert "next_cursor" not in response.json


def thousand_files() -> dict[str, str]:
    return {f"{number:08}-0000-4000-8000-000000000000.png": "scan.png" for number in range(1000)}


def test_a_thousand_files_come_in_one_response(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2Vj/+" * 83 + "abcd==")
    names = thousand_files()
    emulated.put_finished_job(objectUuidNames=names, mediaLength=dict.fromkeys(names, 1))
    [page] = pages(invoke, "/jobs/get", {"job-id": "1"})
    assert list(page.json["results"]) == sorted(names)


# --- GET /jobs/get-object-url


def test_an_object_url_is_composed_without_a_request_to_aws(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.aws.botocore_client", None)
    response = invoke("GET", "/jobs/get-object-url", QUERY)
    url = urlsplit(response.json["url"])
    assert (url.scheme, url.netloc) == ("https", f"{BUCKET}.s3.eu-central-1.amazonaws.com")
    assert url.path == f"/{ALICE}/1/a.png"
    assert parse_qs(url.query)["X-Amz-Expires"] == ["3900"]
    assert "response-content-disposition" not in url.query


# --- DELETE /jobs/delete


@each_route
def test_lambdas_default_timeout_of_3_seconds_is_enough(
    path: str, emulated: Aws, invoke: Invoke, settings: Settings
) -> None:
    """It is 3 s, of which the start has taken half a second."""
    for service in aws.FIRST_READ_SECONDS:
        # Made before, which takes long on a busy machine.
        aws.botocore_client(settings, service, aws.READ_SECONDS[-1])
    emulated.put_finished_job()
    emulated.put_objects(f"{ALICE}/1/a.png")
    assert invoke(ROUTES[path], path, QUERY, seconds_left=2.5).status == 200


def test_delete_removes_the_entry_and_every_file_and_nothing_else(
    emulated: Aws, invoke: Invoke
) -> None:
    for user, job_id in ((ALICE, 1), (ALICE, 10), (BOB, 1)):
        emulated.put_job(user, job_id)
        emulated.put_objects(f"{user}/{job_id}/a.png")
    emulated.put_objects(f"{ALICE}/1/results/a.png.json")
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/1/b.png")
    response = invoke("DELETE", "/jobs/delete", {"job-id": "1"})
    assert (response.status, response.json) == (200, {"message": "Ok"})
    assert emulated.versions() == [f"{ALICE}/10/a.png", f"{BOB}/1/a.png"]
    assert "Uploads" not in emulated.s3.list_multipart_uploads(Bucket=BUCKET)
    left = {(item["userId"], item["jobId"]) for item in emulated.table.scan()["Items"]}
    assert left == {(ALICE, 10), (BOB, 1)}


def test_deleting_a_job_that_is_not_there_removes_files_left_behind(
    emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_objects(f"{ALICE}/1/left.png")
    assert invoke("DELETE", "/jobs/delete", {"job-id": "1"}).status == 200
    assert emulated.versions() == []
    assert invoke("DELETE", "/jobs/delete", {"job-id": "1"}).status == 200


# --- Conditional requests


@each_etag
def test_a_matching_etag_gets_304_without_a_body(path: str, emulated: Aws, invoke: Invoke) -> None:
    emulated.put_finished_job()
    etag = invoke(ROUTES[path], path, QUERY).headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for header in (etag, f"W/{etag}", f'"x", {etag}', f'"x",W/{etag} , "y"', "*"):
        response = invoke(ROUTES[path], path, QUERY, headers={"if-none-match": header})
        assert (response.status, response.body) == (304, "")
        assert response.headers["ETag"] == etag
    for header in ("", '"x"', etag.strip('"'), etag[:-2] + '"'):
        assert invoke(ROUTES[path], path, QUERY, headers={"If-None-Match": header}).status == 200


def test_a_missing_job_is_404_even_if_any_etag_matches(emulated: Aws, invoke: Invoke) -> None:
    response = invoke("GET", "/jobs/get", {"job-id": "1"}, headers={"If-None-Match": "*"})
    assert response.status == 404


@each_etag
def test_an_etag_changes_with_the_item(path: str, emulated: Aws, invoke: Invoke) -> None:
    emulated.put_finished_job()
    etag = invoke(ROUTES[path], path, QUERY).headers["ETag"]
    emulated.put_finished_job(status="failed")
    response = invoke(ROUTES[path], path, QUERY, headers={"If-None-Match": etag})
    assert response.status == 200
    assert response.headers["ETag"] != etag


def test_a_lists_etag_changes_when_more_jobs_follow(emulated: Aws, invoke: Invoke) -> None:
    emulated.put_job(ALICE, 2, date="2026-02")
    etag = invoke("GET", "/jobs/list", {"limit": "1"}).headers["ETag"]
    emulated.put_job(ALICE, 1, date="2026-01")
    response = invoke("GET", "/jobs/list", {"limit": "1"}, headers={"If-None-Match": etag})
    assert (response.status, "next_cursor" in response.json) == (200, True)


def test_a_jobs_etag_changes_with_the_page(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated.put_finished_job(failedToProcess={})
    monkeypatch.setattr("chalicelib.paging.MAX_BYTES_OF_ROWS", 1)
    first, second, *_ = pages(invoke, "/jobs/get", {"job-id": "1"})
    assert first.headers["ETag"] != second.headers["ETag"]


@pytest.mark.parametrize("changed", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "settings", "now"])
def test_a_jobs_etag_and_urls_stay_for_a_window_unless_what_signs_them_changes(
    changed: str,
    emulated: Aws,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    """URLs end with the credentials that signed them: a 304 would keep the old ones."""
    emulated.put_finished_job()
    first = invoke("GET", "/jobs/get", {"job-id": "1"})
    monkeypatch.setattr("app.time.time", lambda: 1_767_787_499)  # the window's last second
    assert invoke("GET", "/jobs/get", {"job-id": "1"}) == first
    if changed == "now":
        monkeypatch.setattr("app.time.time", lambda: 1_767_787_500)
    elif changed == "settings":
        monkeypatch.setattr("app.settings", settings._replace(url_expiry_seconds=60))
    else:
        monkeypatch.setenv(changed, "ANOTHER")
    headers = {"If-None-Match": first.headers["ETag"]}
    response = invoke("GET", "/jobs/get", {"job-id": "1"}, headers=headers)
    assert (response.status, response.headers["ETag"] != headers["If-None-Match"]) == (200, True)
    assert response.json["results"] != first.json["results"]


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "", "x/y;charset=z"])
def test_a_get_succeeds_with_any_content_type(
    content_type: str, emulated: Aws, invoke: Invoke
) -> None:
    response = invoke("GET", "/jobs/list", headers={"Content-Type": content_type})
    assert response.status == 200
