"""openapi.yaml against the app: its routes, parameters and responses."""

import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from chalice.app import Chalice
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate as validate_document

from chalicelib.jobs import STATUSES, status_members
from chalicelib.request import PARAMETERS
from dev import demo
from tests.support import ROOT, camel_case, openapi
from tests.support.commands import find
from tests.support.events import ALICE, BOB, ROUTES, Invoke
from tests.support.lambda_instance import HEADERS
from tests.support.moto_aws import Aws

REDOCLY = "@redocly/cli@2.77.0"
# What a request may have as a parameter's value.
VALUES = [
    *("1", "1000", "1001", "9007199254740991", "9007199254740992", "0", "-1", "1.5", "one"),
    *("a", "-a.tar.gz", " a", "ä", "a\x7f", "a/b", "a\\b", "ä/b.png", ".", "..", "..."),
    *("x" * 255, "x" * 256, "x" * 1024, "x" * 1025, "object-urls", "object-url", "", " "),
]
LIST, GET, URL, DELETE = ROUTES


def example_query(path: str) -> dict[str, Any]:
    """The parameters' examples of a route, which work in `make run` too."""
    [operation] = openapi.PATHS[path].values()
    return {
        each["name"]: each["example"]
        for each in operation["parameters"]
        if each["in"] == "query" and "example" in each
    }


def example_requests() -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """The request of each example: its route, its query, who sends it and how.

    Alice has the demo jobs, and Bob the last two.
    """
    of_parameters: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}
    for name, parameter in PARAMETERS.items():
        path = f"/jobs/{parameter.routes[0]}"
        others = {key: value for key, value in example_query(path).items() if key != name}
        if parameter.required:
            of_parameters[f"{camel_case(name)}Missing"] = (path, others, {})
        bad = "." if parameter.required else ""
        of_parameters[f"{camel_case(name)}Bad"] = (path, others | {name: bad}, {})
    return {
        "all": (LIST, example_query(LIST), {"user": BOB}),
        "more": (LIST, {"limit": 1}, {}),
        "none": (LIST, {}, {"user": "nobody"}),
        "finished": (GET, example_query(GET), {}),
        "unfinished": (GET, {"job-id": 9}, {}),
        "missing": (GET, {"job-id": 1}, {"user": BOB}),
        "save": (URL, example_query(URL), {}),
        "show": (URL, {"job-id": 6, "object-uuid": example_query(URL)["object-uuid"]}, {}),
        "deleted": (DELETE, example_query(DELETE), {}),
        "text": (DELETE, {}, {"headers": {"content-type": "text/plain"}}),
        **of_parameters,
        "unauthorized": (LIST, {}, {"user": None}),
        "unavailable": (DELETE, {"job-id": 1}, {"seconds_left": 1}),
        "fault": (LIST, {}, {}),
    }


def examples() -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Each example: its status, its name, its schema, its value."""
    for path in openapi.PATHS.values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    for name, example in content.get("examples", {}).items():
                        yield status, name, content["schema"], (example or {}).get("value")


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


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_what_the_document_says(name: str, invoke: Invoke, emulated: Aws) -> None:
    for path, item in openapi.PATHS.items():
        [(method, operation)] = item.items()
        said = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        if name not in said:
            continue
        good = example_query(path)
        assert invoke(method.upper(), path, good).status != 400
        # No schema can say that a cursor comes from a response.
        for value in VALUES if name != "cursor" else [""]:
            response = invoke(method.upper(), path, good | {name: value})
            about = response.json.get("affected_query_parameter", "").partition(":")[0]
            taken = response.status != 400 or about != name
            schema = said[name]["schema"]
            whole = schema["type"] == "integer" and re.fullmatch(r"-?\d+", value)
            valid = OAS31Validator(schema).is_valid(int(value) if whole else value)
            assert taken == valid, (path, value)


def test_each_example_is_what_the_app_responds(
    invoke: Invoke, emulated: Aws, one_window: None
) -> None:
    for user, job_ids in {ALICE: [*demo.JOBS], BOB: [12, 11]}.items():
        for job_id in job_ids:
            item, _ = demo.job_data(user, job_id, demo.JOBS[job_id])
            emulated.table.put_item(Item=item)
    responses = {}
    for name, (path, query, more) in example_requests().items():
        if name == "fault":
            emulated.table.delete()
        response = invoke(ROUTES[path], path, query, **more)
        body = response.json
        if "next_cursor" in body:
            body["next_cursor"] = "an-opaque-cursor"
        responses[name] = (str(response.status), body)
    # The gateway's is none of the app's.
    said = {name: (status, value) for status, name, _, value in examples() if name != "gateway"}
    for name, (status, _) in responses.items():
        assert name in said, f"openapi.yaml has no example {name}"
        assert said[name][0] == status, f"the status of the example {name}"
    assert [*said.keys() - responses] == [], "these have no request in this test"
    if "WRITE_EXAMPLES" in os.environ:
        for name, (_, value) in responses.items():
            openapi.write_example(name, value)
    else:
        assert said == responses, "`make examples` writes them"


def test_the_examples_of_parameters_are_of_demo_jobs() -> None:
    item, _ = demo.job_data(ALICE, 6, demo.JOBS[6])
    query = example_query(URL)
    assert item["objectUuidNames"][query["object-uuid"]] == query["download-as"]
    # The other routes' examples outlive it.
    assert example_query(DELETE) == {"job-id": demo.JOB_TO_DELETE}


def test_the_known_statuses_are_the_apps() -> None:
    assert openapi.DOCUMENT["components"]["schemas"]["KnownStatus"]["enum"] == [*STATUSES]


def test_every_example_is_valid_by_its_schema_and_has_what_its_status_means() -> None:
    for _, _, schema, value in examples():
        openapi.validate(value, schema)
        for job in value.get("jobs", [value["job_info"]] if "job_info" in value else []):
            assert job | status_members(job["status"]) == job


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
    cached = {"Content-Type": "application/json", "Cache-Control": "private, no-cache"}
    headers = HEADERS | cached | {"ETag": '"a"'}
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
    npm = find("npm", "npm")
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
    """Without it clients for Java, Kotlin, Go and C# use 32 bits; zod's use BigInt for int64."""
    for node in nodes(openapi.DOCUMENT):
        types = node.get("type")
        kinds = types if isinstance(types, list) else [types]
        if "integer" in kinds:
            small = node.get("maximum", 2**53) < 2**31
            assert node.get("format") == ("int32" if small else "int64"), node
        if "number" in kinds:
            assert node.get("format") == "double", node


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """The node's mappings, at any depth."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from nodes(each)
