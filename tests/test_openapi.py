"""openapi.yaml against the app: its routes, parameters and responses."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from chalice.app import Chalice
from openapi_spec_validator import validate as validate_document

from chalicelib.jobs import FINAL_STATUSES, STATUS_MEANINGS, status_members
from dev import demo
from tests.support import ROOT, openapi
from tests.support.events import ALICE, Invoke, Response
from tests.support.moto_aws import Aws

REDOCLY = "@redocly/cli@2.77.0"
# 2026-01-07 12:02:30 UTC
NOW = 1767787350
FINISHED, PROCESSED = 6, 9
IMAGE = demo.object_uuid(7, "Grüße aus Köln.png")
OBJECT = {"job-id": "7", "object-uuid": IMAGE}
# The request of each example of the document.
REQUESTS: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    "twoOfMany": ("GET", "/jobs/list", {"limit": "2"}, {}),
    "none": ("GET", "/jobs/list", {}, {"user": "nobody"}),
    "finished": ("GET", "/jobs/get", {"job-id": str(FINISHED)}, {}),
    "unfinished": ("GET", "/jobs/get", {"job-id": str(PROCESSED)}, {}),
    "withObjectUrls": (
        "GET",
        "/jobs/get",
        {"job-id": str(PROCESSED), "include": "object-urls"},
        {},
    ),
    "missing": ("GET", "/jobs/get", {"job-id": "99"}, {}),
    "show": ("GET", "/jobs/get-object-url", OBJECT, {}),
    "save": (
        "GET",
        "/jobs/get-object-url",
        OBJECT | {"download-as": "Grüße aus Köln.png"},
        {},
    ),
    "deleted": ("DELETE", "/jobs/delete", {"job-id": "99"}, {}),
    "text": (
        "DELETE",
        "/jobs/delete",
        {"job-id": "1"},
        {"headers": {"content-type": "text/plain"}},
    ),
    "jobIdMissing": ("GET", "/jobs/get", {}, {}),
    "jobIdBad": ("GET", "/jobs/get", {"job-id": "one"}, {}),
    "objectUuidMissing": ("GET", "/jobs/get-object-url", {"job-id": "1"}, {}),
    "objectUuidBad": ("GET", "/jobs/get-object-url", {"job-id": "1", "object-uuid": "a/b"}, {}),
    "limitBad": ("GET", "/jobs/list", {"limit": "0"}, {}),
    "cursorBad": ("GET", "/jobs/list", {"cursor": "1"}, {}),
    "downloadAsBad": ("GET", "/jobs/get-object-url", OBJECT | {"download-as": " "}, {}),
    "includeBad": ("GET", "/jobs/get", {"job-id": "1", "include": "urls"}, {}),
    "unauthorized": ("GET", "/jobs/list", {}, {"user": None}),
    "unavailable": ("DELETE", "/jobs/delete", {"job-id": "1"}, {"seconds_left": 1}),
    "fault": ("GET", "/jobs/list", {}, {}),
}


def examples() -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Each example: its status, its name, its schema, its value."""
    for path in openapi.PATHS.values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    for name, example in content.get("examples", {}).items():
                        yield status, name, content["schema"], example["value"]


def test_the_document_is_valid_openapi() -> None:
    validate_document(openapi.DOCUMENT)


def test_the_document_has_the_apps_routes_with_their_authorizer(app: Chalice) -> None:
    routes = {
        (path, method.lower(), getattr(route.authorizer, "name", None))
        for path, methods in app.routes.items()
        for method, route in methods.items()
    }
    [security] = openapi.DOCUMENT["security"]
    [authorizer] = security
    said = {(path, method, authorizer) for path, item in openapi.PATHS.items() for method in item}
    assert said == routes
    assert not any("security" in operation for item in openapi.PATHS.values() for operation in item)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("job-id", ["1", "9007199254740991", "0", "-1", "9007199254740992", "one", "1.5", ""]),
        ("limit", ["1", "1000", "0", "1001", "all", ""]),
        (
            "object-uuid",
            [
                "a",
                "-a.tar.gz",
                "x" * 255,
                "x" * 256,
                "ä",
                " a",
                " ",
                ".",
                "..",
                "...",
                "a/b",
                "a\\b",
            ],
        ),
        ("download-as", ["a", "ä/b.png", "x" * 1024, "x" * 1025, "a\x7f", " ", ""]),
        ("include", ["object-urls", "object-url", "results", ""]),
        ("cursor", [""]),
    ],
)
def test_a_parameter_is_what_the_document_says(
    name: str, values: list[str], invoke: Invoke, emulated: Aws, credentials: None
) -> None:
    for path, item in openapi.PATHS.items():
        [(method, operation)] = item.items()
        said = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        if name not in said:
            continue
        good = {other: each["example"] for other, each in said.items() if each.get("required")}
        for value in values:
            response = invoke(method.upper(), path, good | {name: value})
            about = response.json.get("affected_query_parameter", "").partition(":")[0]
            taken = response.status != 400 or about != name
            assert taken == is_valid(value, said[name]["schema"]), (path, value)
        if said[name].get("required"):
            del good[name]
            assert invoke(method.upper(), path, good).status == 400


def is_valid(value: str, schema: dict[str, Any]) -> bool:
    whole = schema["type"] == "integer" and re.fullmatch(r"-?\d+", value)
    try:
        openapi.validate(int(value) if whole else value, schema)
    except AssertionError:
        return False
    return True


def test_the_document_has_every_parameter_and_no_other() -> None:
    names = {
        each["name"]
        for item in openapi.PATHS.values()
        for operation in item.values()
        for each in operation["parameters"]
    }
    assert names == {
        "job-id",
        "object-uuid",
        "limit",
        "cursor",
        "download-as",
        "include",
        "If-None-Match",
    }


def test_every_example_is_what_the_app_returns(
    invoke: Invoke, emulated: Aws, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {name: (status, value) for status, name, _, value in examples()}
    assert {
        name: (str(a.status), a.json) for name, a in responses(invoke, emulated, monkeypatch)
    } == said


def responses(
    invoke: Invoke, emulated: Aws, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Response]]:
    monkeypatch.setattr("app.time.time", lambda: NOW)
    for job_id, job in enumerate(demo.demo_jobs(), start=1):
        if len(job.files) < 100:
            emulated.table.put_item(Item=demo.job_data(ALICE, job_id, job)[0])
    for name, (method, path, query, more) in REQUESTS.items():
        if name == "fault":
            emulated.table.delete()
        yield name, invoke(method, path, query, **more)


def test_every_example_is_valid_by_its_schema() -> None:
    for _, _, schema, value in examples():
        openapi.validate(value, schema)


def test_the_document_has_every_status_its_meaning_and_whether_it_is_final() -> None:
    schemas = openapi.DOCUMENT["components"]["schemas"]
    head, _, *lines = schemas["Status"]["description"].splitlines()
    columns, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (head, *lines)]
    expected = []
    for status in (*STATUS_MEANINGS, "processing_N%", "anything else"):
        members = status_members(status.replace("N%", "7%"))
        meaning = members["status_meaning"].replace("7%", "N%")
        expected.append([status, meaning, "yes" if members["finished"] else ""])
    assert columns == ["status", "status_meaning", "finished"]
    assert sorted(rows) == sorted(expected)
    assert set(re.findall(r"`(\w+)`", schemas["Finished"]["description"])) == FINAL_STATUSES


@pytest.mark.parametrize(
    ("status", "changed", "body"),
    [
        (404, {}, '{"message": "A status that the list does not have"}'),
        (200, {"ETag": None}, '{"jobs": []}'),
        (200, {"Access-Control-Allow-Origin": None}, '{"jobs": []}'),
        (200, {"Cache-Control": "no-store"}, '{"jobs": []}'),
        (200, {"Content-Type": "text/html"}, '{"jobs": []}'),
        (200, {}, '{"jobs": [], "forgotten": 1}'),
        (200, {}, '{"jobs": [{}]}'),
        (200, {}, '{"next_cursor": "a"}'),
        (304, {}, '{"jobs": []}'),
        (401, {"Cache-Control": "no-store"}, '{"Message": "Unauthorized"}'),
        (503, {"Cache-Control": "no-store"}, '{"message": "Without Retry-After"}'),
    ],
)
def test_a_response_that_the_document_does_not_have_is_refused(
    status: int, changed: dict[str, str | None], body: str
) -> None:
    headers = {
        "Content-Type": "application/json",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "ETag,Retry-After,X-Request-Id",
        "X-Request-Id": "a",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
        "X-Content-Type-Options": "nosniff",
        "ETag": '"a"',
    }
    openapi.check("GET", "/jobs/list", 200, headers, b'{"jobs": []}')
    sent = {name: value for name, value in (headers | changed).items() if value is not None}
    with pytest.raises(AssertionError):
        openapi.check("GET", "/jobs/list", status, sent, body.encode())


def test_every_response_forbids_sniffing_and_the_apps_vary_by_token() -> None:
    for item in openapi.PATHS.values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                headers = response["headers"].items()
                said = {name: header["schema"].get("const") for name, header in headers}
                assert said["X-Content-Type-Options"] == "nosniff"
                # API Gateway's own have no Vary.
                own = status in ("401", "429", "500", "502", "504")
                assert said.get("Vary") == (None if own else "Authorization")
                assert all(header["required"] for _, header in headers)


def test_the_document_passes_redoclys_linter() -> None:
    """It finds what the validator accepts, such as a member that no schema knows."""
    if not (npm := shutil.which("npm")):
        if "CI" in os.environ:
            pytest.fail("No npm was found, which runs redocly.")
        pytest.skip("No npm was found, which runs redocly. Install Node.js.")
    lint = "redocly lint --extends=spec --format=stylish openapi.yaml"
    done = subprocess.run(
        [npm, "exec", "--yes", f"--package={REDOCLY}", "--call", lint],
        cwd=ROOT,
        env=os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_parameter_is_described() -> None:
    for item in openapi.PATHS.values():
        for operation in item.values():
            assert all(each.get("description") for each in operation["parameters"])


def test_numbers_have_a_format() -> None:
    """Clients generated for Java, Kotlin, Go and C# otherwise use 32 bits."""
    found = set()
    for node in nodes(openapi.DOCUMENT):
        types = node.get("type")
        for kind in types if isinstance(types, list) else [types]:
            if kind in ("integer", "number"):
                found.add((kind, node.get("format")))
    assert found == {("integer", "int64"), ("number", "double")}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """The node's mappings, at any depth."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from nodes(each)
