"""README.md and docs/ against the code: links, tables, messages, commands, names of tests."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from chalice.app import Chalice

from bench.report import STEEPEST, USD_A_GB_SECOND, WHOLE_PROCESSOR_MB
from chalicelib import jobs
from chalicelib.config import Settings, load_settings
from chalicelib.errors import ConfigError
from dev.emulated_aws import REGION, emulated_aws, properties
from dev.package import ROOT
from dev.processes import free_port
from tests.support.commands import (
    documented_commands,
    environment,
    inline_commands,
    read_until_ready,
    uvx,
)
from tests.support.events import ENVIRON
from tests.test_promises import states

AWS_CLI = "awscli==1.46.3"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "SECURITY.md"]
README, DEPLOY, OPERATIONS, PERFORMANCE, SECURITY = (
    (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/deploy.md",
        "docs/operations.md",
        "docs/performance.md",
        "SECURITY.md",
    )
)
# AWS's own variables, and the app's, which have the names of its settings.
VARIABLES = {
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    *(name.upper() for name in Settings._fields if name not in ("region", "s3_endpoint")),
}


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a text, without its head."""
    table = document.split(heading, 1)[1].split("\n|---", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]
    ]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_or_a_heading_of_the_project(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_is_linked_from_the_readme() -> None:
    for document in DOCUMENTS[1:]:
        assert f"({document.relative_to(ROOT)})" in README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_table_of_routes_is_the_apps(app: Chalice) -> None:
    documented = {cells[0].strip("`") for cells in rows(README, "## Routes")}
    assert documented == {
        f"{method} {path}" for path, methods in app.routes.items() for method in methods
    }


def test_the_table_of_variables_is_the_configurations() -> None:
    documented = {line[0].strip("`"): line for line in rows(DEPLOY, "## Configuration")}
    assert set(documented) == VARIABLES
    required = {name for name, cells in documented.items() if cells[1] == "yes"}
    for name in required:
        with pytest.raises(ConfigError, match=f"{name} is not set"):
            load_settings({key: value for key, value in ENVIRON.items() if key != name})
    settings = load_settings({name: ENVIRON[name] for name in required})
    for name in VARIABLES - required:
        if hasattr(settings, name.lower()):
            default = documented[name][2].strip("`").replace("empty", "")
            assert str(getattr(settings, name.lower())).lower() == default.lower()


def test_the_table_of_statuses_is_the_stores() -> None:
    documented: dict[str, str] = {}
    for statuses, meanings, results in rows(OPERATIONS, "if it is negative.\n\n| status"):
        names, texts = re.findall(r"`([^`]+)`", statuses), meanings.split(" / ")
        documented.update(zip(names, texts, strict=False))
        assert (results == "yes") == bool(set(names) & jobs.STATUSES_WITH_RESULTS)
    for status, meaning in documented.items():
        members = jobs.status_members(status.replace("N", "7"))
        assert members["status_meaning"] == meaning.replace("N%", "7%")
    assert set(jobs.STATUS_MEANINGS) <= set(documented)


def test_the_table_of_attributes_is_the_stores() -> None:
    documented = {
        api_name.strip("`")
        for _, _, names in rows(OPERATIONS, "sort key `jobId` (N).\n\n| attribute")
        for api_name in names.split(", ")
    }
    assert documented == set(jobs.job_info({}))


@pytest.mark.parametrize(
    "message",
    [
        "is not set. It must be ",
        "The job does not exist",
        "The service is busy. Please try again in a few seconds.",
        "Something went wrong on our side. The request id is ",
        "There are no AWS credentials.",
        "AWS_REGION is not set, and no AWS profile names a region.",
    ],
)
def test_a_message_in_the_troubleshooting_table_is_one_of_the_code(message: str) -> None:
    folders = (ROOT / "chalicelib", ROOT / "dev")
    sources = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    # A message may be composed of parts.
    sources = sources.replace("{repr(value) if value else 'not set'}", "not set")
    assert message in OPERATIONS.replace("… is not set. It must be …", "is not set. It must be ")
    assert message in sources.replace("{expected}", "")


def test_every_test_that_security_names_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    names = re.findall(r"`(test_\w+)`", SECURITY)
    assert names
    for name in names:
        assert f"def {name}(" in tests, name


def test_the_performance_table_is_the_one_that_was_measured() -> None:
    measured = (ROOT / "bench" / "results.md").read_text()
    table = measured[measured.index("| what | unit") :].partition("\n\n")[0]
    assert table in PERFORMANCE


def test_the_figures_in_the_text_are_those_of_the_tables_and_of_the_stack() -> None:
    results = (ROOT / "bench" / "results.md").read_text()
    compared = {cells[0]: cells[2:5] for cells in rows(results, "# Compared with")}
    sizes = {cells[0]: cells[1:] for cells in rows(results, "## How cost grows")}
    requests, units = ({what: cells[i] for what, cells in sizes.items()} for i in (2, 3))
    of_table, of_index, _ = compared["list, 1,000 jobs of 20 KB: read capacity"]
    _, milliseconds, ratio = compared["get-object-url, warm"]
    # The quotas of a partition and of a table.
    assert 3_000 // int(units["list, 10,000 jobs"]) == 7
    lists = round(40_000 / int(of_index), -1)
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    memory = config["lambda_memory_size"]
    _, deletes = properties("RestAPI")["MethodSettings"]
    running = deletes["ThrottlingRateLimit"] * config["lambda_timeout"]
    running += deletes["ThrottlingBurstLimit"]
    for sentence in (
        f"get-object-url warm has {ratio}: of its {float(milliseconds):.2f} ms",
        f"and has {compared['get-object-url, cold'][2]}. "
        f"list cold has {compared['list, cold'][2]}.",
        f"{of_index} read units for 1,000 jobs of 20 KB, strongly consistent, where a query of the "
        f"table needs {of_table} even if",
        f"costs at most {STEEPEST} times what it costs at the size before",
        f"where 1,000 files take {units['get, 1,000 files']}",
        f"30,000 objects take {requests['delete, 30,000 objects']} requests",
        f"({memory / WHOLE_PROCESSOR_MB * 100:.0f} % at {memory:,} MB)",
        f"at {config['lambda_timeout']} s each they take {running} at most",
        f"({USD_A_GB_SECOND:.10f} USD per GB-second, arm64,",
        f"a user who lists 10,000 jobs ({units['list, 10,000 jobs']} read units) more than seven "
        "times a second",
        f"a list of 1,000 jobs takes {of_index}, so these are {lists:,.0f} such lists",
    ):
        assert states(PERFORMANCE, sentence), sentence
    # A strongly consistent read takes twice the units.
    strongly = f"{2 * int(of_table.replace(',', '')):,} read units instead of {of_index} for"
    assert states(OPERATIONS, f"{strongly} 1,000 jobs of 20 KB, or {of_table} with")


def test_every_make_target_that_is_documented_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    documents = "".join(document.read_text() for document in DOCUMENTS)
    documented = set(re.findall(r"(?:`|^)make ([a-z]+)\b", documents, re.MULTILINE))
    assert documented
    assert documented <= targets


# Every command of a fenced block, by how it begins: the test that runs its text, or why none does.
COMMANDS = {
    "make run ": "test_the_readmes_commands_start_the_api_and_get_the_response_that_it_shows",
    "curl ": "test_the_readmes_commands_start_the_api_and_get_the_response_that_it_shows",
    "make deploy ": "test_make_deploy_creates_a_stack_and_changes_only_what_is_given",
    "make test ": "it runs these tests",
    "aws ": "test_the_aws_commands_do_what_is_said_of_them",
    "filter ": "a query of CloudWatch Logs Insights",
}


# The same for the commands in sentences, whole.
INLINE_COMMANDS = {
    "npx openapi-typescript@7.13.0 openapi.yaml -o jobs-api.d.ts": (
        "test_the_types_fit_those_made_from_the_document"
    ),
    ".venv/bin/chalice package --stage prod --merge-template resources.yaml OUT": (
        "test_chalice_package_gives_the_template_of_make_package"
    ),
    ".venv/bin/chalice deploy --stage prod": "test_chalice_deploy_says_in_one_line_why_aws_refuses",
    "chalice deploy --stage prod": "test_chalice_deploy_says_in_one_line_why_aws_refuses",
    "make run PORT=9000": "the same as with PORT in the environment, as tests/test_run.py has it",
    "make deploy PYTHON=python3.13 …": "it needs one more interpreter",
    "rm -rf .venv": "it removes the environment of the tests",
    "sam delete --stack-name jobs-api --region eu-central-1": (
        "test_make_deploy_creates_a_stack_and_changes_only_what_is_given"
    ),
    "sam deploy --guided": "it asks questions",
    "make soak LOAD_SECONDS=60": "it takes minutes; its own test is one of tests/test_deployed.py",
    "make test SOAK=1": "it runs these tests",
}


def test_every_command_in_a_sentence_is_run_by_a_test_or_has_a_reason() -> None:
    commands = {command for document in DOCUMENTS for command in inline_commands(document)}
    assert commands == set(INLINE_COMMANDS)
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for name in INLINE_COMMANDS.values():
        assert not name.startswith("test_") or f"def {name}(" in tests, name


def test_every_command_is_run_by_a_test_or_has_a_reason() -> None:
    commands = [command for document in DOCUMENTS for command in documented_commands(document)]
    known = [[start for start in COMMANDS if f"{each} ".startswith(start)] for each in commands]
    assert [each for each, starts in zip(commands, known, strict=True) if len(starts) != 1] == []
    counts = Counter(start for starts in known for start in starts)
    assert set(counts) == set(COMMANDS)
    # A test runs the one command that begins so; another one would need a test of its own. That of
    # the AWS CLI runs all of them.
    more = {start for start in counts if COMMANDS[start][:5] == "test_" and counts[start] > 1}
    assert more == {"aws "}
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for name in COMMANDS.values():
        assert not name.startswith("test_") or f"def {name}(" in tests


def test_the_access_log_has_no_field_that_can_hold_a_token_or_an_address() -> None:
    [access_logs] = re.findall(r"```json\n(.+?)```", OPERATIONS, re.DOTALL)
    assert set(re.findall(r"\$([\w.]+)", access_logs)) == {
        "context.requestId",
        "context.requestTime",
        "context.httpMethod",
        "context.resourcePath",
        "context.status",
        "context.error.responseType",
        "context.integration.requestId",
    }


@pytest.mark.skipif("CI" not in os.environ, reason="CI is not set: it downloads the AWS CLI, 25 MB")
def test_the_aws_commands_do_what_is_said_of_them(tmp_path: Path) -> None:
    [access_logs] = re.findall(r"```json\n(.+?)```", OPERATIONS, re.DOTALL)
    with emulated_aws(tmp_path, SERVICES="apigateway,iam,logs") as aws:
        gateway = aws.client("apigateway")
        api = gateway.create_rest_api(name="jobs")["id"]
        filled_in = {"<id>": api, "<RestAPIId>": api, "<account>": "0" * 12, "<region>": REGION}

        def fill_in(text: str) -> str:
            return re.sub("<[A-Za-z]+>", lambda name: filled_in[name[0]], text)

        (tmp_path / "access-logs.json").write_text(fill_in(access_logs))
        for document in ("deploy.md", "operations.md"):
            for command in documented_commands(ROOT / "docs" / document):
                if command.startswith("aws "):
                    subprocess.run(
                        uvx(AWS_CLI, *shlex.split(fill_in(command))),
                        cwd=tmp_path,
                        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **aws.environ},
                        stdout=subprocess.DEVNULL,
                        check=True,
                    )
        for kind in ("DEFAULT_4XX", "DEFAULT_5XX"):
            response = gateway.get_gateway_response(restApiId=api, responseType=kind)
            assert response["responseParameters"] == {
                "gatewayresponse.header.Access-Control-Allow-Origin": "'https://app.example.com'"
            }
        logs = gateway.get_stage(restApiId=api, stageName="api")["accessLogSettings"]
        assert logs["destinationArn"].endswith(":log-group:jobs-api-access")
        assert set(json.loads(logs["format"])) >= {"requestId", "status", "lambdaRequestId"}
        groups = aws.client("logs").describe_log_groups(logGroupNamePrefix="jobs-api-access")
        assert [group["retentionInDays"] for group in groups["logGroups"]] == [30]


def test_the_readmes_commands_start_the_api_and_get_the_response_that_it_shows() -> None:
    run, _, curl = documented_commands(ROOT / "README.md")
    port = free_port()
    process = subprocess.Popen(
        [*shlex.split(run), *environment(sys.prefix)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        lines = read_until_ready(process)
        [printed] = [line for line in lines if line.endswith("/jobs/list'")]
        [token] = re.findall(r"/tmp/jobs-\w+/token", printed)
        curl = re.sub(r"/tmp/jobs-\w+/token", token, curl).replace(":8000/", f":{port}/")
        assert curl == f"{printed[:-1]}?limit=1'"
        got = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)
    [shown] = re.findall(r"^{.*}$", README, re.MULTILINE)
    # A cursor is sealed for the deployment, and each run has another port.
    assert json.loads(got.stdout)["jobs"] == json.loads(shown)["jobs"]
    assert set(json.loads(got.stdout)) == set(json.loads(shown))
