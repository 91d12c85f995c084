"""What `make verify` checks of a deployed stack, each by requests of two temporary users."""

import json
import os
import ssl
import urllib.request
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

import jwt
from boto3.dynamodb.conditions import Key
from cryptography.hazmat.primitives.asymmetric import rsa

from dev import demo
from dev.emulated_aws import Pool
from dev.resources import HEADERS

ROUTES = {"list": "GET", "get": "GET", "get-object-url": "GET", "delete": "DELETE"}
# Newest first. A delete of job 1 must leave job 10. Both users have a job 11.
ALICES = {11: demo.JOBS[10], 10: demo.JOBS[6], 1: demo.JOBS[7]}
BOBS = {11: demo.JOBS[10], 2: demo.JOBS[7]}
FILE = "Grüße aus Köln.png"
PNG = b"\x89PNG"
# API Gateway waits 29.
SECONDS = 35


class FailedError(Exception):
    """What a check found instead of what it expected."""


class Response(NamedTuple):
    """What a request got."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class User(NamedTuple):
    """A temporary user, and their tokens."""

    id: str
    tokens: dict[str, str]


class Stack(NamedTuple):
    """A deployed stack: its URL, the origin whose pages may call it, boto3's resources."""

    url: str
    origin: str
    pool: Pool
    cognito: Any
    table: Any
    bucket: Any

    def job_ids(self, user_id: str) -> list[int]:
        own = Key("userId").eq(user_id)
        items = self.table.query(KeyConditionExpression=own, ConsistentRead=True)["Items"]
        return [int(item["jobId"]) for item in items]

    def versions(self, prefix: str) -> list[Any]:
        """All versions and delete markers below the prefix."""
        return list(self.bucket.object_versions.filter(Prefix=prefix))

    def uploads(self, prefix: str) -> list[Any]:
        """All unfinished uploads below the prefix."""
        return list(self.bucket.multipart_uploads.filter(Prefix=prefix))


class Case(NamedTuple):
    """What the checks work on: Alice has the jobs ALICES, Bob BOBS."""

    stack: Stack
    alice: User
    bob: User

    def __call__(
        self,
        route: str,
        token: str | None = None,
        method: str | None = None,
        etag: str | None = None,
        **query: str | int,
    ) -> Response:
        """The response to Alice's request, or to one with another token ("": none)."""
        token = self.alice.tokens["IdToken"] if token is None else token
        headers = {"Origin": self.stack.origin, "Authorization": token, "If-None-Match": etag}
        names = {name.replace("_", "-"): value for name, value in query.items()}
        url = f"{self.stack.url}/jobs/{route}?{urlencode(names, quote_via=quote)}"
        sent = {name: value for name, value in headers.items() if value}
        return fetch(url, method or ROUTES[route], sent)


@cache
def certificates() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)


def fetch(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> Response:
    """The response, with any status. Raises OSError if none comes."""
    request = urllib.request.Request(url, None, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS, context=certificates()) as response:
            return Response(response.status, response.headers, response.read())
    except HTTPError as error:
        with error:
            return Response(error.code, error.headers, error.read())


def expect(what: str, got: object, wanted: object) -> None:
    """Raises FailedError if they differ."""
    if got != wanted:
        raise FailedError(f"{what}: {got!r} instead of {wanted!r}")


def expect_401(case: Case, kind: str, token: str) -> None:
    for route in ROUTES:
        response = case(route, token, job_id=1, object_uuid="a.png")
        expect(f"/jobs/{route} {kind}", response.status, 401)
        expect(f"/jobs/{route} {kind}", response.json, {"message": "Unauthorized"})


def expect_headers(case: Case, response: Response, **more: str) -> None:
    same = ("Access-Control-Expose-Headers", "X-Content-Type-Options")
    wanted = {name: str(HEADERS[name]).strip("'") for name in same} | {
        "Access-Control-Allow-Origin": case.stack.origin,
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    for name, value in wanted.items():
        expect(name, response.headers[name], value)
    expect("X-Request-Id is there", "X-Request-Id" in response.headers, True)


def expect_file(what: str, url: str, start: bytes) -> Response:
    response = fetch(url)
    expect(f"the status of {what}", response.status, 200)
    expect(f"the beginning of {what}", response.body[: len(start)], start)
    return response


def no_token(case: Case) -> None:
    """401 without a token, on every route"""
    expect_401(case, "without a token", "")


def bad_token(case: Case) -> None:
    """401 with garbage, an access token, another key's token"""
    expect_401(case, "with garbage", "garbage")
    expect_401(case, "with an access token", case.alice.tokens["AccessToken"])
    token = case.alice.tokens["IdToken"]
    claims = jwt.decode(token, options={"verify_signature": False})
    key, kid = rsa.generate_private_key(65537, 2048), jwt.get_unverified_header(token)["kid"]
    expect_401(case, "signed by another key", jwt.encode(claims, key, "RS256", {"kid": kid}))


def headers_of_401(case: Case) -> None:
    """pages can read API Gateway's own 401"""
    expect_headers(case, case("list", ""), Cache_Control="no-store")


def preflight(case: Case) -> None:
    """each route's preflight allows the origin, method and headers"""
    for route, method in ROUTES.items():
        response = case(route, "", "OPTIONS")
        expect("the status", response.status, 200)
        expect("the origin", response.headers["Access-Control-Allow-Origin"], case.stack.origin)
        allowed = response.headers["Access-Control-Allow-Methods"]
        expect("the methods", sorted(str(allowed).split(",")), sorted([method, "OPTIONS"]))
        allowed = response.headers["Access-Control-Allow-Headers"]
        missing = {"Authorization", "If-None-Match"} - {*str(allowed).split(",")}
        expect("the missing headers", sorted(missing), [])


def headers_of_200(case: Case) -> None:
    """pages can read a 200, and it varies by Authorization"""
    response = case("list")
    expect("the status", response.status, 200)
    expect_headers(case, response, Cache_Control="private, no-cache", Vary="Authorization")


def whole_list(case: Case) -> None:
    """the list has the user's own jobs, newest first"""
    for user, jobs in ((case.alice, ALICES), (case.bob, BOBS)):
        listed = case("list", user.tokens["IdToken"]).json["jobs"]
        got = [(job["job_id"], job["job_name"], job["status"]) for job in listed]
        expect("the list", got, [(job_id, job.name, job.status) for job_id, job in jobs.items()])


def pages(case: Case) -> None:
    """the list in pages is whole, and a cursor only its user's"""
    page = case("list", limit=1).json
    cursor, listed = page["next_cursor"], page["jobs"]
    response = case("list", case.bob.tokens["IdToken"], limit=1, cursor=cursor)
    expect("the status of another user's cursor", response.status, 400)
    while "next_cursor" in page and len(listed) <= len(ALICES):
        page = case("list", limit=1, cursor=page["next_cursor"]).json
        listed += page["jobs"]
    expect("the pages", [job["job_id"] for job in listed], list(ALICES))


def not_modified(case: Case) -> None:
    """304 without a body while nothing has changed"""
    for route in ("list", "get"):
        # A window of the URLs may end between two requests, and with it the ETag of a job.
        for _ in range(2):
            etag = case(route, job_id=1).headers["ETag"]
            response = case(route, etag=etag, job_id=1)
            if response.status == 304:
                break
        expect(f"/jobs/{route}", (response.status, response.body), (304, b""))
        expect("Vary", response.headers["Vary"], "Authorization")


def results(case: Case) -> None:
    """a job has results, whose URLs open, as those of its objects do"""
    for job_id in (1, 10):
        job = case("get", job_id=job_id, include="object-urls").json
        names = job["job_info"]["object_uuid_names"]
        expect("the files", sorted(names.values()), sorted(ALICES[job_id].files))
        images = sorted(name for name in names if name.endswith(".png"))
        expect("the results' names", sorted(job["results"]), images)
        for name in images:
            for kind, url in job["results"][name].items():
                expect_file(f"a result ({kind})", url, b"{")
            expect_file("an object", job["object_urls"][name], PNG)


def download(case: Case) -> None:
    """a download has the file's name"""
    name = demo.object_uuid(1, FILE)
    url = case("get-object-url", job_id=1, object_uuid=name, download_as=FILE).json["url"]
    header = str(expect_file("the download", url, PNG).headers["Content-Disposition"])
    expect("the kind", header.partition(";")[0], "attachment")
    expect("the name", header.rpartition("filename*=UTF-8''")[2], quote(FILE))


def other_users(case: Case) -> None:
    """another user's job is a 404, and cannot be read or deleted"""
    before = len(case.stack.versions(f"{case.bob.id}/"))
    expect("the status", case("get", job_id=2).status, 404)
    url = case("get-object-url", job_id=2, object_uuid=demo.object_uuid(2, FILE)).json["url"]
    expect("the file is hidden", fetch(url).status in (403, 404), True)
    for job_id in BOBS:
        expect("the status of the delete", case("delete", job_id=job_id).status, 200)
    expect("Bob's files", len(case.stack.versions(f"{case.bob.id}/")), before)
    expect("Bob's jobs", case.stack.job_ids(case.bob.id), sorted(BOBS))


def delete(case: Case) -> None:
    """a delete leaves no entry, version or upload, and all other jobs"""
    stack, prefix, other = case.stack, f"{case.alice.id}/1/", f"{case.alice.id}/10/"
    jobs = stack.job_ids(case.alice.id)
    before = len(stack.versions(other)), len(stack.uploads(other))
    response = case("delete", job_id=1)
    expect("the response", (response.status, response.json), (200, {"message": "Ok"}))
    expect("versions left", len(stack.versions(prefix)), 0)
    expect("uploads left", len(stack.uploads(prefix)), 0)
    expect("jobs left", stack.job_ids(case.alice.id), [each for each in jobs if each != 1])
    expect("job 10's files", (len(stack.versions(other)), len(stack.uploads(other))), before)


# By the line that is printed. Those that delete come last.
CHECKS: dict[str, Callable[[Case], None]] = {
    str(check.__doc__): check
    for check in (
        no_token,
        bad_token,
        headers_of_401,
        preflight,
        headers_of_200,
        whole_list,
        pages,
        not_modified,
        results,
        download,
        other_users,
        delete,
    )
}
