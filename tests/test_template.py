"""The stack's template, as packaged and as CloudFormation translates it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from chalice.app import Chalice
from samtranslator.translator.transform import transform

from chalicelib import aws
from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from tests.support.events import ENVIRON, Invoke

Json = dict[str, Any]


@pytest.fixture(scope="module")
def template(build: Path) -> Json:
    read: Json = yaml.safe_load((build / "template.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def translated(template: Json) -> Json:
    """What CloudFormation makes of it."""

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        copy = json.loads(json.dumps(template))
        copy["Resources"]["APIHandler"]["Properties"]["CodeUri"] = "s3://bucket/key"
        result: Json = transform(copy, {}, NoManagedPolicies())
    return result


ORIGINS = {
    "*": True,
    "https://app.example.com": True,
    "http://localhost:5173": True,
    "https://app.example.com:65535": True,
    "http://[::1]:3000": True,
    "https://app.example.com:80": True,
    "http://127.0.0.1": True,
    "https://app.example.com:65536": False,
    "https://app.example.com:0": False,
    "https://app.example.com:443": False,
    "http://app.example.com:80": False,
    "https://app.example.com/": False,
    "https://App.example.com": False,
    "app.example.com": False,
    "https://-a.example.com": False,
    "**": False,
}


def properties(template: Json, name: str) -> Json:
    found: Json = template["Resources"][name]["Properties"]
    return found


def statements(template: Json) -> list[Json]:
    """The statements of the function's role."""
    [policy] = properties(template, "ApiHandlerRole")["Policies"]
    found: list[Json] = policy["PolicyDocument"]["Statement"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cfn_lint_finds_nothing(template: Json, translated: Json, tmp_path: Path) -> None:
    paths = [tmp_path / "template.json", tmp_path / "translated.json"]
    for path, content in zip(paths, (template, translated), strict=True):
        path.write_text(json.dumps(content))
    cfn_lint = Path(sys.executable).parent / "cfn-lint"
    run = subprocess.run([cfn_lint, *paths], capture_output=True, text=True, check=False)
    assert run.stdout == ""
    assert run.returncode == 0


def test_the_role_has_no_wildcard(template: Json) -> None:
    for statement in statements(template):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in as_list(statement["Action"]))
        for resource in as_list(statement["Resource"]):
            # An ARN by reference; a * only after a bucket's slash.
            [(kind, value)] = resource.items()
            assert kind in ("Fn::GetAtt", "Fn::Sub")
            assert "*" not in value or value == "${JobFilesBucket.Arn}/*"


def test_an_origin_that_the_stack_takes_is_one_that_the_app_starts_with(template: Json) -> None:
    pattern = template["Parameters"]["AllowedOrigin"]["AllowedPattern"]
    for origin, valid in ORIGINS.items():
        assert bool(re.fullmatch(pattern, origin)) == valid, origin
        if valid:
            load_settings(ENVIRON | {"ALLOWED_ORIGIN": origin})
        else:
            with pytest.raises(ConfigError, match="ALLOWED_ORIGIN is"):
                load_settings(ENVIRON | {"ALLOWED_ORIGIN": origin})


def test_the_function_ends_before_the_gateway_gives_up(template: Json) -> None:
    timeout = properties(template, "APIHandler")["Timeout"]
    # API Gateway waits 29 s ("Amazon API Gateway quotas"), an instance's start included.
    assert timeout <= 29 - 2
    # A slow response is waited for, and there is time for another attempt after it.
    assert 2 * (aws.CONNECT_SECONDS + aws.READ_SECONDS[0] + aws.RESERVE_SECONDS) < timeout


def app_headers(invoke: Invoke) -> dict[str, Any]:
    """The headers of the app's 401, in API Gateway's notation."""
    headers = invoke("GET", "/jobs/list", user=None).headers.items()
    # The template of the body sets Content-Type. What no cache stores needs no Vary.
    own = {k: f"'{v}'" for k, v in headers if k not in ("Content-Type", "Vary")}
    origin = {"Access-Control-Allow-Origin": {"Fn::Sub": "'${AllowedOrigin}'"}}
    return own | origin | {"X-Request-Id": "context.requestId"}


def test_responses_of_api_gateway_itself_have_the_apps_headers_and_a_message(
    translated: Json, invoke: Invoke
) -> None:
    body = properties(translated, "RestAPI")["Body"]
    responses = body["x-amazon-apigateway-gateway-responses"]
    assert {
        kind: (response.get("statusCode"), response["responseTemplates"]["application/json"])
        for kind, response in responses.items()
    } == {
        "DEFAULT_4XX": (None, '{"message":$context.error.messageString}'),
        "DEFAULT_5XX": (None, '{"message":$context.error.messageString}'),
        "THROTTLED": ("429", '{"message":$context.error.messageString}'),
        "UNAUTHORIZED": ("401", '{"message":"Unauthorized"}'),
        "EXPIRED_TOKEN": ("401", '{"message":"Unauthorized"}'),
    }
    expected = app_headers(invoke)
    # It matters in preflights only.
    del expected["Access-Control-Max-Age"]
    for kind, response in responses.items():
        headers = {
            name.removeprefix("gatewayresponse.header."): value
            for name, value in response["responseParameters"].items()
        }
        retry = {"Retry-After": "'5'"} if kind == "THROTTLED" else {}
        assert headers == expected | retry


def test_every_route_is_behind_the_pool_and_every_preflight_has_the_apps_headers(
    translated: Json, app: Chalice, invoke: Invoke
) -> None:
    body = properties(translated, "RestAPI")["Body"]
    authorizer = body["securityDefinitions"]["Users"]["x-amazon-apigateway-authorizer"]
    assert authorizer["providerARNs"] == [{"Fn::GetAtt": ["UserPool", "Arn"]}]
    routes = 0
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            if method == "options":
                response = operation["x-amazon-apigateway-integration"]["responses"]["default"]
                headers = {
                    name.removeprefix("method.response.header."): value
                    for name, value in response["responseParameters"].items()
                }
                method = next(iter(app.routes[path]))
                allowed = {"Access-Control-Allow-Methods": f"'{method},OPTIONS'"}
                assert headers == app_headers(invoke) | allowed
                # API Gateway refuses a header that the response does not declare.
                assert set(headers) == set(operation["responses"]["200"]["headers"])
            else:
                assert operation["security"] == [{"Users": []}]
                routes += 1
    assert routes == 4


def test_the_stage_is_throttled_and_regional_and_compresses(translated: Json) -> None:
    api = properties(translated, "RestAPI")
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["MinimumCompressionSize"] == 1024
    [stage] = [r for r in translated["Resources"].values() if r["Type"] == "AWS::ApiGateway::Stage"]
    limits = {
        (each["ResourcePath"], each["HttpMethod"]): (
            each["ThrottlingRateLimit"],
            each["ThrottlingBurstLimit"],
        )
        for each in stage["Properties"]["MethodSettings"]
    }
    # The path is AWS's spelling of /jobs/delete.
    assert limits == {("/*", "*"): (50, 100), ("/~1jobs~1delete", "DELETE"): (10, 20)}


def test_there_is_no_stage_beside_the_one_that_is_throttled_and_watched(translated: Json) -> None:
    """Where it knows no OpenApiVersion, SAM makes one named Stage."""
    resources = translated["Resources"].values()
    stages = [r["Properties"] for r in resources if r["Type"] == "AWS::ApiGateway::Stage"]
    assert [stage["StageName"] for stage in stages] == ["api"]
    [deployment] = [r for r in resources if r["Type"] == "AWS::ApiGateway::Deployment"]
    assert "StageName" not in deployment["Properties"]
