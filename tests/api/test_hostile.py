"""Nobody gets in: hostile claims, parameters, headers, bytes; what one user learns of another."""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from chalice.app import Chalice
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.config import Settings
from chalicelib.request import PARAMETERS
from dev.emulated_aws import BUCKET, TABLE
from tests.support import ROOT
from tests.support.events import ALICE, BOB, ROUTES, Response, id_token_claims
from tests.support.lambda_instance import SOAK, Invocation, check_response, invoke
from tests.support.moto_aws import Aws
from tests.support.running_api import Running

hostile = settings(
    max_examples=3_000 if SOAK else 150,
    deadline=None,
    derandomize=not SOAK,
    # The emulated AWS stays what it is: what hostile requests delete is put back by none.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NASTY = [
    "",
    " ",
    "1",
    "10",
    "0",
    "-1",
    "1.0",
    "1e3",
    "٣",
    "1\n",
    "1\r\nSet-Cookie: a=b",
    "a.png",
    "../10/a.png",
    "..%2f10%2fa.png",
    "results/a.png.json",
    BOB,
    f"../../{BOB}/1/a.png",
    '"><script>alert(1)</script>',
    "'; DROP TABLE jobs; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "a\0b",
    "\ud800",
    "\u202egnp.exe",
    'a"; filename="b',
    "*",
    'W/"x", *',
    "[]",
    "W10",
    "AAAAAAAAAAAAAAAAAAAAAFsiMSJd",
    "9" * 5_000,
    "x" * 9_000,
    # A cursor of lists in lists in lists.
    "AAAAAAAAAAAAAAAAAAAAAFtb" + "W1tb" * 2_000,
]
TEXT = st.sampled_from(NASTY) | st.text(max_size=40)
NAMES = [*PARAMETERS, "job_id", "object_uuid", "user_id", "userId", "__proto__"]
QUERIES = st.dictionaries(
    st.sampled_from(NAMES) | TEXT, st.lists(TEXT, min_size=1, max_size=2), max_size=5
)
# A good request, before the query overlays it.
GOOD_QUERY = {"job-id": ["1"], "object-uuid": ["a.png"]}
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("If-None-Match", "Content-Type", "Origin", "Host", "X-Forwarded-Host"),
            *("Authorization", "X-User-Id"),
        ]
    )
    | st.text(min_size=1, max_size=10),
    TEXT,
    max_size=4,
)
PATHS = st.sampled_from([*ROUTES])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CLAIMS = JSON | st.fixed_dictionaries(
    {
        "token_use": st.just("id") | JSON,
        "sub": st.sampled_from([ALICE, f"{ALICE}/1", f"{BOB}\n"]) | JSON,
    }
)

Requests = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def requests(emulated: Aws, settings: Settings, credentials: None) -> Iterator[Requests]:
    """Each operation and request that the API sends to AWS. Bob has data too."""
    sent: Requests = []

    def record(params: dict[str, Any], model: Any, **_: Any) -> None:
        sent.append((model.name, params))

    for user, other in ((ALICE, BOB), (BOB, ALICE)):
        for job_id in (1, 10):
            names = {'"<script>.png': '"<script>'}
            item = {"status": "success", "jobName": '"<script>', "objectUuidNames": names}
            emulated.put_job(user, job_id, **item, filesPath=f"{other}/{job_id}/")
            emulated.put_objects(f"{user}/{job_id}/a.png")
    for name in ("dynamodb", "s3"):
        client = aws.botocore_client(settings, name, aws.FIRST_READ_SECONDS[name])
        client.meta.events.register_first("before-parameter-build", record)
    yield sent
    aws.botocore_client.cache_clear()


def check_reach(response: Response, user: str, requests: Requests) -> None:
    """All requests and URLs concern only the user, and one job where they name one."""
    own_job = re.compile(re.escape(user) + r"/[1-9][0-9]{0,15}/(results/)?[^/]+")
    for operation, request in requests:
        if operation in ("GetItem", "DeleteItem", "Query"):
            assert request["TableName"] == TABLE
            keys = [request[name] for name in ("Key", "ExclusiveStartKey") if name in request]
            partitions = [key["userId"] for key in keys]
            if operation == "Query":
                assert request["KeyConditionExpression"] == "userId = :user_id"
                partitions.append(request["ExpressionAttributeValues"][":user_id"])
            assert partitions
            assert all(partition == {"S": user} for partition in partitions)
            continue
        assert operation in (
            "ListMultipartUploads",
            "ListObjectVersions",
            "DeleteObjects",
            "AbortMultipartUpload",
        )
        assert request["Bucket"] == BUCKET
        if operation.startswith("List"):
            assert re.fullmatch(re.escape(user) + r"/[1-9][0-9]{0,15}/", request["Prefix"])
        objects = request.get("Delete", {}).get("Objects", [request])
        for key in [o["Key"] for o in objects if "Key" in o]:
            assert own_job.fullmatch(key)
    if response.status == 200:
        for url in re.findall(r'https://[^"]*', response.body):
            assert urlsplit(url).netloc == f"{BUCKET}.s3.eu-central-1.amazonaws.com"
            assert own_job.fullmatch(unquote(urlsplit(url).path)[1:])
            assert "\n" not in unquote(url)
            assert "\r" not in unquote(url)


@hostile
@given(path=PATHS, query=QUERIES, headers=HEADERS)
@example(path="/jobs/list", query={}, headers={})
@example(path="/jobs/get", query={"include": ["object-urls"]}, headers={})
@example(path="/jobs/delete", query={"job-id": ["10"]}, headers={})
@example(path="/jobs/get-object-url", query={"object-uuid": ["../../2/a.png"]}, headers={})
def test_no_parameter_or_header_leads_beyond_the_callers_own(
    path: str,
    query: dict[str, list[str]],
    headers: dict[str, str],
    app: Chalice,
    requests: Requests,
) -> None:
    requests.clear()
    response = invoke(app, Invocation(path, GOOD_QUERY | query, ALICE, headers=headers))
    assert response.status < 500
    check_reach(response, ALICE, requests)
    # A 415 names the content type, as JSON; no other refusal repeats what was sent.
    if response.status not in (200, 415):
        assert not re.search(r"[<>$%;*]", response.body)


@hostile
@given(path=PATHS, claims=CLAIMS, headers=HEADERS)
def test_no_claims_but_an_id_tokens_reach_anything(
    path: str, claims: Any, headers: dict[str, str], app: Chalice, requests: Requests
) -> None:
    requests.clear()
    response = invoke(app, Invocation(path, GOOD_QUERY, claims=claims, headers=headers))
    if response.status in (401, 415):  # a DELETE of another content type is refused before
        assert requests == []
        return
    # Hypothesis may well write a valid user id.
    assert claims["token_use"] == "id"
    assert re.fullmatch(r"[A-Za-z0-9_:-]{1,128}", claims["sub"])
    check_reach(response, claims["sub"], requests)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("sub", ["..", ".", "", "a/b", f"{ALICE}/10", "*", "a\\b", "a%2Fb", "a b"])
def test_no_sub_that_could_be_a_path_reaches_anything(
    path: str, sub: str, app: Chalice, requests: Requests
) -> None:
    response = invoke(app, Invocation(path, GOOD_QUERY, claims=id_token_claims(sub)))
    assert (response.status, requests) == (401, [])


def raw_response(running: Running, method: str, target: str, headers: dict[str, bytes]) -> Response:
    """What comes back for exactly these bytes."""
    netloc = urlsplit(running.url).netloc
    connection = http.client.HTTPConnection(netloc, timeout=10)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        got = connection.getresponse()
        return Response(got.status, dict(got.getheaders()), got.read().decode("ascii"))
    finally:
        connection.close()


ESCAPES = st.lists(
    st.sampled_from(
        ["%00", "%0d%0aSet-Cookie:x=y", "%FF", "%ED%A0%80", "%2e%2e%2f", "%u0041", *"%+;=&?a1"]
    )
    | st.sampled_from([f"{name}=" for name in NAMES])
    | st.just("x" * 6_000),
    max_size=8,
).map("".join)


@settings(hostile, max_examples=1_000 if SOAK else 60)
@given(
    path=PATHS,
    query=ESCAPES,
    tag=st.binary(max_size=30).map(lambda b: re.sub(rb"[\x00-\x1f\x7f]", b"", b)),
    bearer=st.sampled_from([b"", b"Bearer ", b"bearer ", b"Bearer  "]),
)
def test_no_bytes_on_the_wire_get_an_unclean_response(
    path: str, query: str, tag: bytes, bearer: bytes, running: Running
) -> None:
    token = bearer + running.tokens["IdToken"].encode()
    headers = {"Authorization": token, "If-None-Match": tag}
    response = raw_response(running, ROUTES[path], f"{path}?job-id=1&{query}", headers)
    sent = ("Server", "Date", "Content-Length")
    contract = {name: value for name, value in response.headers.items() if name not in sent}
    check_response(response.status, contract, response.body)
    assert response.status < 500
    assert (response.status == 401) == (bearer in (b"bearer ", b"Bearer  "))


def test_schemathesis_finds_nothing(running: Running, tmp_path: Path) -> None:
    """But what no schema can say, that a made-up cursor is refused; and chalice local's own TRACE.

    Nearly all of its checks: documented statuses, headers and bodies, bad requests refused, ...
    """
    config, document = tmp_path / "schemathesis.toml", tmp_path / "openapi.yaml"
    config.write_text('[phases.coverage]\nunexpected-methods = ["PATCH", "POST", "PUT"]\n')
    # Schemathesis takes a minute to make names of 255 characters with "not only spaces".
    not_only_spaces = r"(?=[\s\S]*\S)"
    text = (ROOT / "openapi.yaml").read_text()
    assert text.count(not_only_spaces) == 1
    document.write_text(text.replace(not_only_spaces, ""))
    command = [
        *(Path(sys.executable).parent / "schemathesis", "--config-file", config, "run"),
        *(document, "--url", running.url),
        *("--header", f"Authorization: {running.tokens['IdToken']}"),
        *("--exclude-checks", "positive_data_acceptance"),
        *("--max-examples", "300" if SOAK else "30"),
        *("--phases", "examples,coverage,fuzzing", "--no-color", "--warnings", "off"),
        *([] if SOAK else ["--seed", "1"]),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Tested: 4" in done.stdout


# --- Isolation


def every_request(job_id: int) -> list[Invocation]:
    query = {"job-id": job_id}
    return [
        Invocation("/jobs/get", query),
        Invocation("/jobs/get", query, headers={"If-None-Match": "*"}),
        Invocation("/jobs/get-object-url", query | {"object-uuid": "a.png"}),
        Invocation("/jobs/delete", query),
    ]


@pytest.fixture
def both(emulated: Aws, credentials: None, one_window: None) -> None:
    """Alice and Bob with a job each, which the other has not: 1 and 2; and both have 3 and 4."""
    for user, other, job_ids in ((ALICE, BOB, (1, 3, 4)), (BOB, ALICE, (2, 3, 4))):
        for job_id in job_ids:
            names = {f"{user}-{n}.png": "x.png" for n in range(3)}
            item = {"status": "success", "jobName": user, "objectUuidNames": names}
            emulated.put_job(user, job_id, **item, filesPath=f"{other}/{job_id}/")
            emulated.put_objects(f"{user}/{job_id}/a.png", f"{user}/{job_id}/results/a.png.json")


@pytest.mark.parametrize(("caller", "others_job"), [(ALICE, 2), (BOB, 1), (None, 1), (None, 2)])
def test_no_response_tells_another_users_job_from_a_missing_one(
    caller: str | None, others_job: int, app: Chalice, emulated: Aws, both: None
) -> None:
    """By status, headers, body: all is alike but the job id that the caller has sent."""
    missing_job = 7
    files_before = emulated.versions()
    entries_before = emulated.table.scan()["Items"]
    for theirs, missing in zip(every_request(others_job), every_request(missing_job), strict=True):
        got, expected = (
            invoke(app, request._replace(user=caller)) for request in (theirs, missing)
        )
        assert (got.status, got.headers) == (expected.status, expected.headers)
        assert got.status == 401 if caller is None else got.status in (200, 404)
        if "url" in got.json:
            # The signature covers the key, so it differs.
            got, expected = (
                Response(a.status, a.headers, re.sub(r"(?<=Signature=)\w+", "", a.body))
                for a in (got, expected)
            )
            key = f"{caller}/{others_job}/".encode().decode()
            assert key in got.body
            expected = expected._replace(
                body=expected.body.replace(f"{caller}/{missing_job}/", key)
            )
        assert got.body == expected.body
    assert emulated.versions() == files_before
    assert emulated.table.scan()["Items"] == entries_before


@pytest.mark.parametrize(("owner", "thief"), [(ALICE, BOB), (BOB, ALICE), (ALICE, None)])
def test_cursors_and_tags_of_one_user_are_worth_nothing_to_another(
    owner: str, thief: str | None, app: Chalice, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # A page of one row.
        patch.setattr("chalicelib.paging.MAX_BYTES_OF_ROWS", 1)
        for request in (Invocation("/jobs/list"), Invocation("/jobs/get", {"job-id": 3})):
            cursor = invoke(app, request._replace(user=owner)).json["next_cursor"]
            for elsewhere in (
                request._replace(user=thief),
                Invocation("/jobs/get", {"job-id": 4}, owner),
                Invocation("/jobs/get", {"job-id": 3, "include": "object-urls"}, owner),
            ):
                stolen, made_up = (
                    invoke(app, elsewhere._replace(query={**elsewhere.query, "cursor": sent}))
                    for sent in (cursor, "AAAA")
                )
                assert stolen == made_up
                assert stolen.status == (400 if elsewhere.user else 401)

    their_job = 1 if owner == ALICE else 2
    for path, query in (("/jobs/list", {}), ("/jobs/get", {"job-id": 3})):
        tag = invoke(app, Invocation(path, query, owner)).headers["ETag"]
        headers = {"If-None-Match": tag}
        assert invoke(app, Invocation(path, query, owner, headers=headers)).status == 304
        got = invoke(app, Invocation(path, query, thief, headers=headers))
        assert got == invoke(app, Invocation(path, query, thief))
        assert got.status == (401 if thief is None else 200)
    tag = invoke(app, Invocation("/jobs/get", {"job-id": their_job}, owner)).headers["ETag"]
    got = invoke(
        app, Invocation("/jobs/get", {"job-id": their_job}, thief, headers={"If-None-Match": tag})
    )
    assert got == invoke(app, Invocation("/jobs/get", {"job-id": 7}, thief))


@pytest.mark.parametrize(("caller", "other"), [(ALICE, BOB), (BOB, ALICE)])
def test_no_response_holds_anything_of_another_user(
    caller: str, other: str, app: Chalice, both: None
) -> None:
    for request in [Invocation("/jobs/list"), *every_request(3)[::2], *every_request(2)[:1]]:
        response = invoke(app, request._replace(user=caller))
        assert other not in json.dumps([response.headers, response.body])
