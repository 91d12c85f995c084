"""Nobody gets in: hostile claims, parameters, headers, bytes; what one user learns of another."""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.config import Settings
from chalicelib.request import PARAMETERS
from dev.emulated_aws import BUCKET, TABLE
from tests.support import ROOT
from tests.support.events import ALICE, BOB, QUERY, ROUTES, Invoke, Response
from tests.support.lambda_instance import FULL, SOAK, check_response
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
    "0",
    "-1",
    "٣",
    "1\n",
    "1\r\nSet-Cookie: a=b",
    "a.png",
    "results/a.png.json",
    "../10/a.png",
    "..%2f10%2fa.png",
    BOB,
    f"../../{BOB}/1/a.png",
    '"><script>alert(1)</script>',
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
def requests(emulated: Aws, settings: Settings) -> Iterator[Requests]:
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
    invoke: Invoke,
    requests: Requests,
) -> None:
    requests.clear()
    response = invoke(ROUTES[path], path, QUERY | query, headers=headers)
    assert response.status < 500
    check_reach(response, ALICE, requests)
    # A 415 names the content type, as JSON; no other refusal repeats what was sent.
    if response.status not in (200, 415):
        assert not re.search(r"[<>$%;*]", response.body)


@hostile
@given(path=PATHS, claims=CLAIMS, headers=HEADERS)
def test_no_claims_but_an_id_tokens_reach_anything(
    path: str, claims: Any, headers: dict[str, str], invoke: Invoke, requests: Requests
) -> None:
    requests.clear()
    response = invoke(ROUTES[path], path, QUERY, claims=claims, headers=headers, user=None)
    if response.status in (401, 415):  # a DELETE of another content type is refused before
        assert requests == []
        return
    # Hypothesis may well write a valid user id.
    assert claims["token_use"] == "id"
    assert re.fullmatch(r"[A-Za-z0-9_:-]{1,128}", claims["sub"])
    check_reach(response, claims["sub"], requests)


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
    address = urlsplit(running.url).netloc
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        # It sends exactly these bytes.
        connection.request(ROUTES[path], f"{path}?job-id=1&{query}", headers=headers)
        got = connection.getresponse()
        response = Response(got.status, dict(got.getheaders()), got.read().decode("ascii"))
    check_response(ROUTES[path], path, response)
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
        *("--exclude-checks", "positive_data_acceptance", "--generation-database", "none"),
        *("--max-examples", "300" if SOAK else "30" if FULL else "10"),
        *("--phases", "examples,coverage,fuzzing", "--no-color", "--warnings", "off"),
        *([] if SOAK else ["--seed", "1"]),
    ]
    # Its tables of characters are this process's: to make them takes three seconds.
    environ = os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Tested: 4" in done.stdout
