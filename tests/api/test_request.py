"""chalicelib/request.py: who calls, the parameters, and every place that repeats them."""

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chalicelib.request import PARAMETERS, parameter_error
from tests.support import ROOT, camel_case, openapi
from tests.support.events import ALICE, BOB, QUERY, ROUTES, Invoke, id_token_claims, refused
from tests.support.moto_aws import Aws

TYPES = (ROOT / "client" / "api.d.ts").read_text("utf-8")
METHODS = dict(zip(ROUTES, ("list: ", "get", "objectUrl", "delete"), strict=True))
each_route = pytest.mark.parametrize("path", ROUTES)


def parameters(path: str) -> dict[str, bool]:
    """A route's parameters, and whether each is required."""
    route = path.removeprefix("/jobs/")
    return {name: each.required for name, each in PARAMETERS.items() if route in each.routes}


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
    path: str, claims: Any, invoke: Invoke
) -> None:
    response = invoke(ROUTES[path], path, QUERY, user=None, claims=claims)
    assert (response.status, response.json) == (401, {"message": "Unauthorized"})


def test_a_user_id_may_hold_a_colon_a_dash_and_an_underscore(emulated: Aws, invoke: Invoke) -> None:
    user = "eu-central-1:x_Y" + "9" * 112
    assert len(user) == 128
    assert invoke("GET", "/jobs/list", user=user).json == {"jobs": []}


# --- Parameters


# Each parameter of each route.
each_parameter = pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in ROUTES for name in parameters(path)]
)


@each_parameter
def test_a_parameter_that_is_blank_or_missing_gets_400_unless_it_is_optional(
    path: str, name: str, emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(ALICE, 1)
    others = {other: value for other, value in QUERY.items() if other != name}
    blank = [{name: ""}, {name: " "}]
    message = ""
    if PARAMETERS[name].required:
        message = f"The {name} query parameter is missing"
        blank += [{}, {name.replace("-", "_"): ""}]
    else:
        assert invoke(ROUTES[path], path, others).status == 200
    for given in blank:
        response = invoke(ROUTES[path], path, others | given)
        assert (response.status, response.json) == (400, refused(name, message))


@each_parameter
def test_a_parameter_given_twice_or_in_both_spellings_gets_400(
    path: str, name: str, invoke: Invoke
) -> None:
    others = {other: value for other, value in QUERY.items() if other != name}
    message = f"The {name} query parameter must be given once"
    twice: list[dict[str, Any]] = [{name: ["1", "1"]}]
    if PARAMETERS[name].required:
        twice += [{name: "1", name.replace("-", "_"): "1"}]
    for given in twice:
        response = invoke(ROUTES[path], path, others | given)
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
def test_a_bad_value_of_a_parameter_gets_400(path: str, name: str, invoke: Invoke) -> None:
    for value in BAD_VALUES[name]:
        response = invoke(ROUTES[path], path, QUERY | {name: value})
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
    response = invoke("GET", "/jobs/get-object-url", QUERY | {"download-as": file_name})
    url = urlsplit(response.json["url"])
    [disposition] = parse_qs(url.query)["response-content-disposition"]
    assert unquote(disposition.partition("filename*=UTF-8''")[2]) == saved_as
    assert len(saved_as.encode()) <= 240


@each_route
def test_unknown_parameters_and_those_of_other_routes_are_ignored(
    path: str, emulated: Aws, invoke: Invoke
) -> None:
    emulated.put_job(ALICE, 1)
    more: dict[str, Any] = {"unknown": ["1", "2"], "user_id": BOB, "download_as": "", "": ["x"]}
    for name in PARAMETERS.keys() - parameters(path):
        more[name] = ["", "x"]
    assert invoke(ROUTES[path], path, QUERY | more).status == 200


# --- What repeats the declaration of the parameters


@each_route
def test_openapi_yaml_has_the_parameters_of_each_route(path: str) -> None:
    [operation] = openapi.PATHS[path].values()
    documented: dict[str, Any] = {
        each["name"]: each for each in operation["parameters"] if each["in"] == "query"
    }
    required = {name: each.get("required", False) for name, each in documented.items()}
    assert required == parameters(path)
    for name, each in documented.items():
        number = PARAMETERS[name].type == "number"
        schema = {"type": each["schema"]["type"], "maximum": each["schema"].get("maximum", 0)}
        kind = "integer" if number else "string"
        assert schema == {"type": kind, "maximum": PARAMETERS[name].maximum}, name
    headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
    assert headers == ({"If-None-Match"} if path in ("/jobs/list", "/jobs/get") else set())


def test_openapi_yaml_has_each_parameter_that_an_error_can_name() -> None:
    schemas = openapi.DOCUMENT["components"]["schemas"]
    names = schemas["ParameterError"]["properties"]["affected_query_parameter"]["enum"]
    assert names == [parameter_error(name).parameter for name in PARAMETERS]


@each_route
def test_the_readme_has_the_parameters_of_each_route(path: str) -> None:
    required, optional = (
        ", ".join(f"`{name}`" for name, flag in parameters(path).items() if flag == wanted)
        for wanted in (True, False)
    )
    documented = "; ".join(filter(None, [required, optional and f"{optional} (optional)"]))
    assert f"`{ROUTES[path]} {path}` | {documented} |" in (ROOT / "README.md").read_text("utf-8")


@each_route
def test_the_clients_types_have_the_parameters_of_each_route(path: str) -> None:
    signature = TYPES.split(f"\n    {METHODS[path]}(")[1].split("RequestOptions")[0]
    types = dict(re.findall(r"(\w+\??): (\w+|\"[\w-]+\")", signature))
    for other in ("previous?", "options?"):
        types.pop(other, None)
    expected = {}
    for name, required in parameters(path).items():
        expected[camel_case(name) + ("" if required else "?")] = PARAMETERS[name].type
    if path == "/jobs/get":
        # The client itself follows the cursors, and names the one value of include.
        del expected["cursor?"]
        expected["include?"] = '"object-urls"'
    assert types == expected
