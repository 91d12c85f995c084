"""The declaration of the parameters, against every place that repeats it."""

import re
from typing import Any

import pytest

from chalicelib.request import PARAMETERS, parameter_error
from tests.support import ROOT, openapi
from tests.support.events import ROUTES

TYPES = (ROOT / "client" / "api.d.ts").read_text("utf-8")
METHODS = {"list": "list: ", "get": "get", "get-object-url": "objectUrl", "delete": "delete"}
each_route = pytest.mark.parametrize("route", [path.removeprefix("/jobs/") for path in ROUTES])


def parameters(route: str) -> dict[str, bool]:
    """A route's parameters, and whether each is required."""
    return {name: each.required for name, each in PARAMETERS.items() if route in each.routes}


@each_route
def test_openapi_yaml_has_the_parameters_of_each_route(route: str) -> None:
    [operation] = openapi.PATHS[f"/jobs/{route}"].values()
    documented: dict[str, Any] = {
        each["name"]: each for each in operation["parameters"] if each["in"] == "query"
    }
    required = {name: each.get("required", False) for name, each in documented.items()}
    assert required == parameters(route)
    for name, each in documented.items():
        number = PARAMETERS[name].type == "number"
        schema = {"type": each["schema"]["type"], "maximum": each["schema"].get("maximum", 0)}
        kind = "integer" if number else "string"
        assert schema == {"type": kind, "maximum": PARAMETERS[name].maximum}, name
    headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
    assert headers == ({"If-None-Match"} if route in ("list", "get") else set())


def test_openapi_yaml_has_each_parameter_that_an_error_can_name() -> None:
    schemas = openapi.DOCUMENT["components"]["schemas"]
    names = schemas["ParameterError"]["properties"]["affected_query_parameter"]["enum"]
    assert names == [parameter_error(name).parameter for name in PARAMETERS]


@each_route
def test_the_readme_has_the_parameters_of_each_route(route: str) -> None:
    required, optional = (
        ", ".join(f"`{name}`" for name, flag in parameters(route).items() if flag == wanted)
        for wanted in (True, False)
    )
    documented = "; ".join(filter(None, [required, optional and f"{optional} (optional)"]))
    assert f"`{ROUTES[f'/jobs/{route}']} /jobs/{route}` | {documented} |" in (
        ROOT / "README.md"
    ).read_text("utf-8")


@each_route
def test_the_clients_types_have_the_parameters_of_each_route(route: str) -> None:
    signature = TYPES.split(f"\n    {METHODS[route]}(")[1].split("RequestOptions")[0]
    types = dict(re.findall(r"(\w+\??): (\w+|\"[\w-]+\")", signature))
    for other in ("previous?", "options?"):
        types.pop(other, None)
    expected = {}
    for name, required in parameters(route).items():
        camel = re.sub(r"-(\w)", lambda letter: letter[1].upper(), name)
        expected[camel + ("" if required else "?")] = PARAMETERS[name].type
    if route == "get":
        # The client itself follows the cursors, and names the one value of include.
        del expected["cursor?"]
        expected["include?"] = '"object-urls"'
    assert types == expected
