"""The stack's template, as packaged and as CloudFormation translates it."""

import json
import re
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from chalice.app import Chalice

from chalicelib import aws
from chalicelib.config import Settings, load_settings
from chalicelib.errors import ConfigError
from dev.chalice_cli import PLACEHOLDER
from dev.package import BUILD, ROOT
from tests.support.events import ENVIRON, Invoke
from tests.support.stack import GOLDEN, TEMPLATE, properties

Json = dict[str, Any]


@pytest.fixture(scope="module")
def translated(build: Path) -> Json:
    """What CloudFormation makes of it."""
    # Here, because every process of a run imports this module, and this takes a second.
    from samtranslator.translator.transform import transform

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        template = yaml.load((build / "template.yaml").read_bytes(), yaml.CSafeLoader)
        properties("APIHandler", template)["CodeUri"] = "s3://bucket/key"
        result: Json = transform(template, {}, NoManagedPolicies())
    return result


def statements() -> list[Json]:
    """The statements of the function's role."""
    [policy] = properties("ApiHandlerRole")["Policies"]
    found: list[Json] = policy["PolicyDocument"]["Statement"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_packaged_template_is_the_golden_file(build: Path) -> None:
    """So the other tests may read the golden file."""
    template = yaml.load((build / "template.yaml").read_bytes(), yaml.CSafeLoader)
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert properties("APIHandler", template)["Runtime"] == runtime
    properties("APIHandler", template)["Runtime"] = "python"
    # As text, where true is not 1, and whose lines pytest compares.
    assert yaml.safe_dump(template) == yaml.safe_dump(TEMPLATE), (
        f"The stack is not that of {GOLDEN}. If it is meant to change, run `make golden`, and "
        "review the difference."
    )


def test_cfn_lint_finds_nothing(build: Path, translated: Json, tmp_path: Path) -> None:
    paths = [build / "template.yaml", tmp_path / "translated.json"]
    paths[1].write_text(json.dumps(translated))
    # Not that support of the interpreter's Python version ends, which depends on the day.
    cfn_lint = Path(sys.executable).parent / "cfn-lint"
    command = [str(cfn_lint), "--ignore-checks", "W2531", "--", *map(str, paths)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout == ""
    assert run.returncode == 0


def test_the_role_has_no_wildcard() -> None:
    for statement in statements():
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in as_list(statement["Action"]))
        for resource in as_list(statement["Resource"]):
            # An ARN by reference; a * only after a bucket's slash.
            [(kind, value)] = resource.items()
            assert kind in ("Fn::GetAtt", "Fn::Sub")
            assert "*" not in value or value == "${JobFilesBucket.Arn}/*"


VARIABLES = properties("APIHandler")["Environment"]["Variables"]
SETTINGS = {
    "AllowedOrigin": (
        *("*", "**", "app.example.com", "https://app.example.com", "https://app.example.com/"),
        *("https://App.example.com", "https://-a.example.com", "https://app.example.com:65535"),
        *("https://app.example.com:65536", "https://app.example.com:0", "http://127.0.0.1"),
        *("https://app.example.com:443", "https://app.example.com:80", "http://localhost:5173"),
        *("http://app.example.com:80", "http://[::1]:3000"),
    ),
    "UrlExpirySeconds": ("1", "43200", "0", "43201", "-1", "1.5", "1e3", " 5"),
    "UrlWindowSeconds": ("1", "3600", "0", "3601", "-1", "1.5", "1e3", " 5"),
    "LogLevel": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "TRACE"),
    "JobListConsistentRead": ("true", "false", "True"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_the_stack_takes_is_one_that_the_app_starts_with(name: str) -> None:
    parameter = TEMPLATE["Parameters"][name]
    [variable] = [key for key, value in VARIABLES.items() if value == {"Ref": name}]
    for value in SETTINGS[name]:
        if pattern := parameter.get("AllowedPattern"):
            taken = bool(re.fullmatch(pattern, value, re.ASCII))
        else:
            taken = value in parameter["AllowedValues"]
        with nullcontext() if taken else pytest.raises(ConfigError, match=f"{variable} is"):
            load_settings(ENVIRON | {variable: value})


@pytest.mark.parametrize(
    ("name", "most"),
    [("UrlExpirySeconds", 43200), ("UrlWindowSeconds", 3600), ("BurstLimit", 5000)],
)
def test_the_stack_takes_each_whole_number_and_no_other_text(name: str, most: int) -> None:
    pattern = TEMPLATE["Parameters"][name]["AllowedPattern"]
    assert all(re.fullmatch(pattern, str(number)) for number in range(1, most + 1))
    for other in ("", "0", "-1", "1.5", "1e3", " 5", "5\n"):
        assert not re.fullmatch(pattern, other), other


def test_a_stack_sets_all_that_the_app_reads_and_by_default_to_its_defaults() -> None:
    read = {name.upper() for name in Settings._fields if name not in ("region", "s3_endpoint")}
    assert VARIABLES.keys() == read
    parameters = TEMPLATE["Parameters"]
    defaults = {
        name: str(parameters[value["Ref"]]["Default"])
        for name, value in VARIABLES.items()
        if "Ref" in value and value["Ref"] in parameters
    }
    assert load_settings(ENVIRON | defaults) == load_settings(ENVIRON)


def test_the_functions_timeout_is_below_that_of_api_gateway() -> None:
    timeout = properties("APIHandler")["Timeout"]
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


def test_responses_of_api_gateway_itself_are_like_the_apps(
    translated: Json, invoke: Invoke
) -> None:
    body = properties("RestAPI", translated)["Body"]
    responses = body["x-amazon-apigateway-gateway-responses"]
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
    unauthorized = invoke("GET", "/jobs/list", user=None)
    for kind in ("UNAUTHORIZED", "EXPIRED_TOKEN"):
        assert responses[kind]["statusCode"] == str(unauthorized.status)
        assert responses[kind]["responseTemplates"]["application/json"] == unauthorized.body


def test_every_route_is_behind_the_pool_and_every_preflight_has_the_apps_headers(
    translated: Json, app: Chalice, invoke: Invoke
) -> None:
    body = properties("RestAPI", translated)["Body"]
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


def test_sam_deploy_has_all_the_settings_that_it_needs(translated: Json) -> None:
    sam = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert ROOT / sam["global"]["parameters"]["template_file"] == BUILD / "template.yaml"
    roles = [r for r in translated["Resources"].values() if r["Type"].startswith("AWS::IAM::")]
    assert roles
    # With a name of its own, a role would need CAPABILITY_NAMED_IAM.
    assert not any("RoleName" in role["Properties"] for role in roles)
    deploy = sam["deploy"]["parameters"]
    # For roles, and for the SAM transform.
    assert set(deploy["capabilities"].split()) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
    # A bucket for the code, with a prefix that no other stack has.
    assert deploy["resolve_s3"]
    assert deploy["s3_prefix"] == sam["global"]["parameters"]["stack_name"]
    # In a pipeline nobody answers, and often nothing has changed.
    assert not deploy["confirm_changeset"]
    assert not deploy["fail_on_empty_changeset"]


def test_the_policy_of_stage_prod_allows_what_the_stacks_role_does() -> None:
    """The ARNs of the stack's resources stand where the policy has placeholders."""
    role = json.dumps(statements())
    for name in ("JobRequestsTable", "JobFilesBucket"):
        role = role.replace(f'{{"Fn::GetAtt": ["{name}", "Arn"]}}', f'"${{{name}.Arn}}"')
    role = re.sub(r'{"Fn::Sub": ("[^"]+")}', r"\1", role)
    policy = (ROOT / ".chalice" / "policy-prod.json").read_text().replace(", then ", "")
    placeholder = f"{PLACEHOLDER}, in .chalice/policy-prod.json: the ARN of the"
    policy = policy.replace(f"{placeholder} table", "${JobRequestsTable.Arn}")
    policy = policy.replace(f"{placeholder} bucket", "${JobFilesBucket.Arn}")
    logs, *rest = json.loads(policy)["Statement"]
    own_logs, *own_rest = json.loads(role)
    assert rest == own_rest
    # Lambda makes the log group, and names it by the app's name and the stage.
    assert logs["Resource"] == "arn:*:logs:*:*:log-group:/aws/lambda/jobs-api-prod:*"
    assert logs["Action"] == ["logs:CreateLogGroup", *own_logs["Action"]]


def test_stage_prod_sets_the_variables_of_the_stack() -> None:
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    variables = config["stages"]["prod"]["environment_variables"]
    assert variables.keys() <= VARIABLES.keys()
    assert {n: v for n, v in variables.items() if not v.startswith(f"{PLACEHOLDER}: the ")} == {
        "JOB_LIST_INDEX": VARIABLES["JOB_LIST_INDEX"],
        "ALLOWED_ORIGIN": TEMPLATE["Parameters"]["AllowedOrigin"]["Default"],
    }
