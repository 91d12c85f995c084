"""The four routes through the Lambda handler, on moto."""

import base64
import hmac
import json
import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chalicelib import aws
from chalicelib.config import Settings
from chalicelib.request import PARAMETERS, parameter_error
from dev.emulated_aws import BUCKET
from tests.support.events import (
    ALICE,
    BOB,
    Context,
    Invoke,
    Response,
    id_token_claims,
    lambda_event,
)
from tests.support.lambda_instance import HEADERS, check_response
from tests.support.moto_aws import Aws
from tests.support.scripted_server import Scripted, scripted_server

ROUTES = [
    ("GET", "/jobs/list", {}),
    ("GET", "/jobs/get", {"job-id": "1"}),
    ("GET", "/jobs/get-object-url", {"job-id": "1", "object-uuid": "a.png"}),
    ("DELETE", "/jobs/delete", {"job-id": "1"}),
]
each_route = pytest.mark.parametrize(
    ("method", "path", "query"), ROUTES, ids=[path for _, path, _ in ROUTES]
)
NAMES = {"b.png": "Grüße.png", "a.png": "東京.png", "broken.png": "x.png"}


pytestmark = pytest.mark.usefixtures("credentials", "one_window")


def put_finished_job(emulated: Aws, job_id: int = 1, **attributes: Any) -> None:
    emulated.put_job(
        ALICE,
        job_id,
        **{
            "status": "success",
            "jobName": "Job Name",
            "contentLength": 5020,
            "creditsSpent": Decimal("2.5"),
            "email": "alice@example.com",
            "objectUuidNames": NAMES,
            "mediaLength": dict.fromkeys(NAMES, 1),
            "failedToProcess": {"broken.png": "No image"},
            **attributes,
        },
    )


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


# --- Who calls


@each_route
@pytest.mark.parametrize(
    "claims",
    [
        None,
        {},
        [],
        "claims",
        {"token_use": "id"},
        {**id_token_claims(ALICE), "token_use": "access"},
        {**id_token_claims(ALICE), "token_use": ["id"]},
        {"sub": ALICE},
        *map(id_token_claims, ("", "..", "*", "a b", f"{ALICE}/1", f"{ALICE}\n", "ünïcode")),
        id_token_claims("x" * 129),
        {"sub": [ALICE], "token_use": "id"},
    ],
)
def test_claims_that_are_not_of_an_id_token_of_a_valid_user_get_401(
    method: str, path: str, query: dict[str, str], claims: Any, invoke: Invoke
) -> None:
    response = invoke(method, path, query, user=None, claims=claims)
    assert (response.status, response.json) == (401, {"message": "Unauthorized"})


def test_a_user_id_may_hold_a_colon_a_dash_and_an_underscore(emulated: Aws, invoke: Invoke) -> None:
    user = "eu-central-1:x_Y" + "9" * 112
    assert len(user) == 128
    assert invoke("GET", "/jobs/list", user=user).json == {"jobs": []}


# --- Parameters


def refused(parameter: str, message: str = "") -> dict[str, str]:
    error = parameter_error(parameter, message)
    return {"message": str(error), "affected_query_parameter": error.parameter}


# Each parameter of each route.
each_parameter = pytest.mark.parametrize(
    ("name", "method", "path", "query"),
    [
        (name, method, path, query)
        for name, parameter in PARAMETERS.items()
        for method, path, query in ROUTES
        if path.removeprefix("/jobs/") in parameter.routes
    ],
)


@each_parameter
def test_a_parameter_that_is_blank_or_missing_gets_400_unless_it_is_optional(
    name: str, method: str, path: str, query: dict[str, str], emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(ALICE, 1)
    others = {other: value for other, value in query.items() if other != name}
    blank = [{name: ""}, {name: " "}]
    message = ""
    if PARAMETERS[name].required:
        message = f"The {name} query parameter is missing"
        blank += [{}, {name.replace("-", "_"): ""}]
    else:
        assert invoke(method, path, others).status == 200
    for given in blank:
        response = invoke(method, path, others | given)
        assert (response.status, response.json) == (400, refused(name, message))


@each_parameter
def test_a_parameter_given_twice_or_in_both_spellings_gets_400(
    name: str, method: str, path: str, query: dict[str, str], invoke: Invoke
) -> None:
    others = {other: value for other, value in query.items() if other != name}
    message = f"The {name} query parameter must be given once"
    twice: list[dict[str, Any]] = [{name: ["1", "1"]}]
    if PARAMETERS[name].required:
        twice += [{name: "1", name.replace("-", "_"): "1"}]
    for given in twice:
        response = invoke(method, path, others | given)
        assert (response.status, response.json) == (400, refused(name, message))


NOT_NUMBERS = ["0", "-1", "+1", "1.0", "1e3", "x", "X1", " 1", "1 ", "1\n", "٣", "²"]
NOT_OBJECTS = ["../2/a.png", "results/a.png.json", "a/b", "a\\b", "/", ".", "..", "a.png\n"]
BAD_VALUES = {
    "job-id": [*NOT_NUMBERS, "9007199254740992", "9" * 5000],
    "object-uuid": [*NOT_OBJECTS, "a\0b", "a\x7fb", "a\x85b", "\ud800", "x" * 256],
    "limit": [*NOT_NUMBERS, "1001"],
    "cursor": ["x", "A" * 40],
    "download-as": ["\t\n", "x" * 1025],
    "include": ["object_urls", "object-urls,results", "Object-Urls"],
}


@each_parameter
def test_a_bad_value_of_a_parameter_gets_400(
    name: str, method: str, path: str, query: dict[str, str], invoke: Invoke
) -> None:
    for value in BAD_VALUES[name]:
        response = invoke(method, path, query | {name: value})
        assert (response.status, response.json) == (400, refused(name))


@pytest.mark.parametrize("job_id", ["1", "0001", "0" * 5000 + "1"])
@pytest.mark.parametrize("spelling", ["job-id", "job_id"])
def test_a_job_id_may_be_spelt_both_ways_and_have_leading_zeros(
    job_id: str, spelling: str, emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(ALICE, 1)
    assert invoke("GET", "/jobs/get", {spelling: job_id}).json["job_info"]["job_id"] == 1


@pytest.mark.parametrize(
    "object_uuid",
    [
        "a",
        "-_",
        "x" * 255,
        "x.tar.gz",
        "x.c++",
        "x.документ",
        "a b%2F.png",
        "...",
        ".png",
        "a\xa0b",
    ],
)
def test_an_object_uuid_is_any_name_that_a_writer_can_have_stored(
    object_uuid: str, invoke: Invoke
) -> None:
    query = {"job-id": "1", "object_uuid": object_uuid}
    url = urlsplit(invoke("GET", "/jobs/get-object-url", query).json["url"])
    assert unquote(url.path) == f"/{ALICE}/1/{object_uuid}"


@pytest.mark.parametrize(
    ("file_name", "saved_as"),
    [
        ("photos/beach.png", "photos_beach.png"),
        ("a\\b\nc\rd\0e\x7ff\x85g\ud800h", "a_b_c_d_e_f_g_h"),
        ("x" * 236 + ".png", "x" * 236 + ".png"),
        ("x" * 1020 + ".png", "x" * 236 + ".png"),
        ("é" * 200 + ".png", "é" * 118 + ".png"),
        ("x" + "é" * 200 + ".png", "x" + "é" * 117 + ".png"),
        ("x" * 200 + "." + "y" * 119, "x" * 120 + "." + "y" * 119),
        ("x" * 200 + "." + "y" * 120, "x" * 200 + "." + "y" * 39),
        ("東" * 300 + ".tar.gz", "東" * 79 + ".gz"),
        ("x" * 500, "x" * 240),
        ("a." + "é" * 500, "a." + "é" * 119),
        ("." * 500, "." * 240),
        ("/", "_"),
    ],
)
def test_a_file_name_is_made_one_that_file_systems_take(
    file_name: str, saved_as: str, invoke: Invoke
) -> None:
    query = {"job-id": "1", "object-uuid": "a.png", "download-as": file_name}
    url = urlsplit(invoke("GET", "/jobs/get-object-url", query).json["url"])
    [disposition] = parse_qs(url.query)["response-content-disposition"]
    assert unquote(disposition.partition("filename*=UTF-8''")[2]) == saved_as
    assert len(saved_as.encode()) <= 240


@each_route
def test_unknown_parameters_and_those_of_other_routes_are_ignored(
    method: str, path: str, query: dict[str, str], emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(ALICE, 1)
    more: dict[str, Any] = {"unknown": ["1", "2"], "user_id": BOB, "": ["x"]}
    for name, parameter in PARAMETERS.items():
        if path.removeprefix("/jobs/") not in parameter.routes:
            more[name] = ["", "x"]
    assert invoke(method, path, query | more).status == 200


# --- GET /jobs/list


def test_the_list_is_the_callers_newest_first(emulated: Aws, invoke: Invoke) -> None:
    put_finished_job(emulated, 1, date="2020-01-01 12:00:00.000000000 UTC")
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
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 1000])
def test_pages_of_any_limit_give_every_job_once_and_end(
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


def test_a_limit_is_a_limit_of_what_is_read(
    emulated: Aws, invoke: Invoke, settings: Settings
) -> None:
    emulated.put_job(ALICE, 1)
    requests: list[dict[str, Any]] = []
    client = aws.botocore_client(settings, "dynamodb", aws.FIRST_READ_SECONDS["dynamodb"])
    client.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: requests.append(params)
    )
    try:
        assert invoke("GET", "/jobs/list", {"limit": "5"}).status == 200
    finally:
        aws.botocore_client.cache_clear()
    assert [request["Limit"] for request in requests] == [6]


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


@pytest.mark.parametrize(("request_scope", "payload"), FORGED)
def test_a_forged_cursor_gets_400_although_its_tag_is_right(
    request_scope: list[str], payload: str, emulated: Aws, invoke: Invoke, settings: Settings
) -> None:
    emulated.put_job(ALICE, 1)
    deployment = settings.user_pool_arn + settings.job_requests_table
    route, *more = request_scope
    scope = json.dumps([deployment, ALICE, route, *more]).encode()
    encoded = payload.encode("latin-1" if payload == "\xff" else "utf-8")
    tag = hmac.digest(scope, encoded, "sha256")[:16]
    cursor = base64.urlsafe_b64encode(tag + encoded).decode().rstrip("=")
    response = invoke("GET", f"/jobs/{route}", {"cursor": cursor, "job-id": "1"})
    assert response.status == 400
    assert response.json["affected_query_parameter"] == "cursor: string"


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
    put_finished_job(emulated, date="2020")
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


@pytest.mark.parametrize(("method", "path", "query"), ROUTES[1:])
def test_another_users_job_is_like_a_missing_one(
    method: str, path: str, query: dict[str, str], emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(BOB, 1)
    emulated.put_objects(f"{BOB}/1/a.png")
    theirs, missing = (invoke(method, path, query | {"job-id": id_}) for id_ in ("1", "2"))
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
    put_finished_job(emulated, status=status)
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
    put_finished_job(emulated, objectUuidNames=names, failedToProcess=failed)
    query = {"job-id": "1", "include": "object-urls"}
    found = pages(invoke, "/jobs/get", query)
    assert len(found) > 1
    for page in found:
        assert set(page.json["results"]) == set(page.json["object_urls"]) - set(failed)
        assert page.json["job_info"] == found[0].json["job_info"]
    assert escaped_bytes(found[0].body) > 5_900_000
    assert [name for page in found for name in page.json["object_urls"]] == sorted(names)
    # A cursor is bound to `include`, the job and the caller too.
    put_finished_job(emulated, 2)
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
    put_finished_job(emulated, objectUuidNames=names, failedToProcess={"b.png": "No image"})
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
    put_finished_job(emulated, objectUuidNames=names, mediaLength=dict.fromkeys(names, 1))
    [page] = pages(invoke, "/jobs/get", {"job-id": "1"})
    assert list(page.json["results"]) == sorted(names)


# --- GET /jobs/get-object-url


def test_an_object_url_is_composed_without_a_request_to_aws(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.aws.botocore_client", None)
    query = {"job-id": "7", "object-uuid": "a.png"}
    response = invoke("GET", "/jobs/get-object-url", query)
    url = urlsplit(response.json["url"])
    assert (url.scheme, url.netloc) == ("https", f"{BUCKET}.s3.eu-central-1.amazonaws.com")
    assert url.path == f"/{ALICE}/7/a.png"
    assert parse_qs(url.query)["X-Amz-Expires"] == ["3900"]
    assert "response-content-disposition" not in url.query


# --- DELETE /jobs/delete


@each_route
def test_lambdas_default_timeout_is_enough(
    method: str,
    path: str,
    query: dict[str, str],
    emulated: Aws,
    invoke: Invoke,
    settings: Settings,
) -> None:
    """It is 3 s, of which the start has taken half a second."""
    for service in aws.FIRST_READ_SECONDS:
        # Made before, which takes long on a busy machine.
        aws.botocore_client(settings, service, aws.READ_SECONDS[-1])
    put_finished_job(emulated)
    emulated.put_objects(f"{ALICE}/1/a.png")
    assert invoke(method, path, query, seconds_left=2.5).status == 200


def test_delete_removes_the_entry_and_every_file_and_nothing_else(
    emulated: Aws, invoke: Invoke
) -> None:
    for user, job_id in ((ALICE, 1), (ALICE, 10), (BOB, 1)):
        emulated.put_job(user, job_id)
        emulated.put_objects(f"{user}/{job_id}/a.png", f"{user}/{job_id}/results/a.png.json")
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/1/b.png")
    response = invoke("DELETE", "/jobs/delete", {"job-id": "1"})
    assert (response.status, response.json) == (200, {"message": "Ok"})
    assert {key.rpartition("/")[0] for key in emulated.versions()} == {
        f"{user}/{job_id}{more}"
        for user, job_id in ((ALICE, 10), (BOB, 1))
        for more in ("", "/results")
    }
    assert emulated.uploads() == []
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


@pytest.mark.parametrize(("method", "path", "query"), ROUTES[:2])
def test_a_matching_tag_gets_304_without_a_body(
    method: str, path: str, query: dict[str, str], emulated: Aws, invoke: Invoke
) -> None:
    put_finished_job(emulated)
    etag = invoke(method, path, query).headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for header in (etag, f"W/{etag}", f'"x", {etag}', f'"x",W/{etag} , "y"', "*"):
        response = invoke(method, path, query, headers={"if-none-match": header})
        assert (response.status, response.body) == (304, "")
        assert response.headers["ETag"] == etag
    for header in ("", '"x"', etag.strip('"'), etag[:-2] + '"'):
        assert invoke(method, path, query, headers={"If-None-Match": header}).status == 200


def test_a_missing_job_is_404_even_to_a_star(emulated: Aws, invoke: Invoke) -> None:
    response = invoke("GET", "/jobs/get", {"job-id": "1"}, headers={"If-None-Match": "*"})
    assert response.status == 404


@pytest.mark.parametrize(("method", "path", "query"), ROUTES[:2])
def test_a_tag_changes_with_the_item(
    method: str, path: str, query: dict[str, str], emulated: Aws, invoke: Invoke
) -> None:
    put_finished_job(emulated)
    etag = invoke(method, path, query).headers["ETag"]
    put_finished_job(emulated, status="failed")
    response = invoke(method, path, query, headers={"If-None-Match": etag})
    assert response.status == 200
    assert response.headers["ETag"] != etag


def test_a_lists_tag_changes_when_more_jobs_follow(emulated: Aws, invoke: Invoke) -> None:
    emulated.put_job(ALICE, 2, date="2026-02")
    etag = invoke("GET", "/jobs/list", {"limit": "1"}).headers["ETag"]
    emulated.put_job(ALICE, 1, date="2026-01")
    response = invoke("GET", "/jobs/list", {"limit": "1"}, headers={"If-None-Match": etag})
    assert (response.status, "next_cursor" in response.json) == (200, True)


def test_a_jobs_tag_changes_with_the_page(
    emulated: Aws, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_finished_job(emulated, failedToProcess={})
    monkeypatch.setattr("chalicelib.paging.MAX_BYTES_OF_ROWS", 1)
    first, second, *_ = pages(invoke, "/jobs/get", {"job-id": "1"})
    assert first.headers["ETag"] != second.headers["ETag"]


@pytest.mark.parametrize("changed", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "settings", "now"])
def test_a_jobs_tag_and_urls_stay_for_a_window_unless_what_signs_them_changes(
    changed: str,
    emulated: Aws,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    """URLs end with the credentials that signed them: a 304 would keep the old ones."""
    put_finished_job(emulated)
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


# --- What Chalice refuses by itself


def test_a_wrong_method_gets_405_with_all_headers(invoke: Invoke) -> None:
    response = invoke("POST", "/jobs/list")
    assert (response.status, response.json) == (405, {"message": "Unsupported method: POST"})
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "", "x/y;charset=z"])
def test_a_get_succeeds_with_any_content_type(
    content_type: str, emulated: Aws, invoke: Invoke
) -> None:
    response = invoke("GET", "/jobs/list", headers={"Content-Type": content_type})
    assert response.status == 200


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


# --- Failures and the log


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
    ("response", "status"),
    [
        (Scripted(500, "{}"), 503),
        (Scripted(400, '{"__type": "x#ThrottlingException"}'), 503),
        (Scripted(400, '{"__type": "x#AccessDeniedException", "message": "no"}'), 500),
        (Scripted(400, '{"__type": "x#ResourceNotFoundException"}'), 500),
        # A search for secrets in it must not take a time that grows with its square.
        (Scripted(400, json.dumps({"__type": "x#Whatever", "message": "?" * 100_000})), 500),
    ],
    ids=["fails", "throttles", "refuses", "has no table", "is verbose"],
)
def test_a_broken_store_gets_a_clean_503_or_500(
    response: Scripted, status: int, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.botocore_client.cache_clear()
    with scripted_server(response) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        for method, path, query in (ROUTES[0], ROUTES[1]):
            assert invoke(method, path, query).status == status
    aws.botocore_client.cache_clear()


def test_each_request_has_one_log_line_of_ids_and_counts_and_nothing_else(
    emulated: Aws, invoke: Invoke, log: list[dict[str, Any]]
) -> None:
    """No token, URL, file name or e-mail address."""
    put_finished_job(emulated)
    emulated.put_objects(f"{ALICE}/1/a.png", f"{ALICE}/1/a.png", f"{ALICE}/1/b.png")
    emulated.s3.delete_object(Bucket=BUCKET, Key=f"{ALICE}/1/b.png")
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/1/c.mov")
    for method, path, query in ROUTES:
        more = {"download-as": "Grüße.png"} if path == "/jobs/get-object-url" else {}
        invoke(method, path, query | more, headers={"Authorization": "a-token"})
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
