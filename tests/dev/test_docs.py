"""README.md and docs/ against the code: links, tables, messages, commands, names of tests."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from chalice.app import Chalice

from chalicelib import files, jobs
from chalicelib.config import Settings, load_settings
from chalicelib.errors import ConfigError
from dev.emulated_aws import REGION, emulated_aws
from dev.package import ROOT
from tests.support.commands import AWS_CLI, documented_commands, needs_aws_cli, uvx
from tests.support.events import ALICE, ENVIRON, ROUTES, SECONDS, Context, Invoke
from tests.support.moto_aws import Aws

DOCUMENTS = [ROOT / "README.md"]
DOCUMENTS += sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {*DOCUMENTS})
README, DEPLOY, OPERATIONS = (
    (ROOT / name).read_text() for name in ("README.md", "docs/deploy.md", "docs/operations.md")
)
[ACCESS_LOGS] = re.findall(r"```json\n(.+?)```", OPERATIONS, re.DOTALL)
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
def test_every_path_of_the_project_exists(document: Path) -> None:
    folders = "bench|chalicelib|client|dev|docs|tests"
    paths = re.findall(rf"(?<![\w./-])(?:{folders})/[\w./-]*\w", document.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


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


# Values by DynamoDB's types, with which each member of `job_info` changes that depends on one.
VALUES: dict[str, list[Any]] = {
    "S": ["success", "processing_7%"],
    "N": ["7"],
    "M": [{"a.png": {"S": "reason"}}, {"a.png": {"N": "7"}}],
}


def test_the_table_of_attributes_has_the_types_that_are_read_and_the_members_they_give() -> None:
    empty = jobs.job_info({})
    members: set[str] = set()
    for attribute, kind, names in rows(OPERATIONS, "sort key `jobId` (N).\n\n| attribute"):
        documented = {name.strip("`") for name in names.split(", ")}
        read: dict[str, set[str]] = {type_: set() for type_ in VALUES}
        for type_, values in VALUES.items():
            for value in values:
                info = jobs.job_info({attribute.strip("`"): {type_: value}})
                read[type_] |= {name for name in info if info[name] != empty[name]}
        assert {type_: found for type_, found in read.items() if found} == {kind[0]: documented}
        members |= documented
    assert members == set(empty)


def test_the_table_of_log_members_is_what_the_log_lines_have(
    emulated: Aws, app: Chalice, invoke: Invoke, log: list[dict[str, Any]]
) -> None:
    emulated.put_job(ALICE, 1)
    for path, method in ROUTES.items():
        invoke(method, path, {"job-id": 1, "object-uuid": "a.png"})
    emulated.table.delete()
    assert invoke("GET", "/jobs/list").status == 500
    app({"warmup": True}, Context(SECONDS))
    cells = [cells[0] for cells in rows(OPERATIONS, "## Logs")]
    documented = re.findall(r"`(\w+)`", " ".join(cells))
    assert sorted(documented) == sorted({name for line in log for name in line})


def test_the_keys_of_results_are_where_the_writer_is_told_to_put_them() -> None:
    upload = files.object_key("<userId>", 7, "<uuid>.<ext>")
    prefix = files.job_prefix("<userId>", 7)
    result = json.loads("{" + files.result_member(lambda key: key, prefix, "<uuid>.<ext>") + "}")
    full, small = result["<uuid>.<ext>"].values()
    assert small == full.removesuffix(".json") + ".min.json"
    sentences = (
        f"uploads are at `{upload}`, results at `{full}` and `….min.json`. "
        f"Everything below `{prefix}` belongs to the job"
    )
    assert sentences.replace("7", "<jobId>") in OPERATIONS


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
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    names = re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text())
    assert names
    for name in names:
        assert f"def {name}(" in tests, name


@pytest.mark.parametrize("head", ["| request | ms", "| what | unit"])
def test_the_performance_tables_are_those_that_were_measured(head: str) -> None:
    measured = (ROOT / "bench" / "results.md").read_text()
    table = measured[measured.index(head) :].partition("\n\n")[0]
    assert table in (ROOT / "docs" / "performance.md").read_text()


def test_every_make_target_that_is_documented_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    documents = "".join(document.read_text() for document in DOCUMENTS)
    documented = set(re.findall(r"(?:`|^)make ([a-z]+)\b", documents, re.MULTILINE))
    assert documented
    assert documented <= targets


def test_the_access_log_has_no_field_that_can_hold_a_token_or_an_address() -> None:
    assert set(re.findall(r"\$([\w.]+)", ACCESS_LOGS)) == {
        "context.requestId",
        "context.requestTime",
        "context.httpMethod",
        "context.resourcePath",
        "context.status",
        "context.error.responseType",
        "context.integration.requestId",
    }


@needs_aws_cli
def test_the_aws_commands_do_what_is_said_of_them(tmp_path: Path) -> None:
    with emulated_aws(tmp_path, SERVICES="apigateway,iam,logs") as aws:
        gateway = aws.client("apigateway")
        api = gateway.create_rest_api(name="jobs")["id"]
        filled_in = {"<id>": api, "<RestAPIId>": api, "<account>": "0" * 12, "<region>": REGION}

        def fill_in(text: str) -> str:
            return re.sub("<[A-Za-z]+>", lambda name: filled_in[name[0]], text)

        (tmp_path / "access-logs.json").write_text(fill_in(ACCESS_LOGS))
        for document in ("deploy.md", "operations.md"):
            for command in documented_commands(ROOT / "docs" / document):
                if command.startswith(("aws apigateway ", "aws iam ", "aws logs ")):
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
