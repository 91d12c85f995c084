"""Figures and names of the stack in the documents against those of the template.

The sentences are made from the golden file of the template, so a change of the stack shows here
which sentences of the documents it concerns.
"""

import re
import tomllib
from typing import Any

import pytest

from bench.report import WHOLE_PROCESSOR_MB
from dev.package import ROOT
from tests.support.stack import TEMPLATE, properties

TABLE, BUCKET = properties("JobRequestsTable"), properties("JobFilesBucket")
FUNCTION, LOGS = properties("APIHandler"), properties("APIHandlerLogs")
API, LATENCY = properties("RestAPI"), properties("LatencyAlarm")
PREFLIGHT = API["DefinitionBody"]["paths"]["/jobs/list"]["options"]
STACK = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["global"]["parameters"]
DEPLOY, FRONTEND, OPENAPI = "docs/deploy.md", "docs/frontend.md", "openapi.yaml"
OPERATIONS, PERFORMANCE = "docs/operations.md", "docs/performance.md"
WORDS = {4: "four", 10: "ten"}


def words(number: int) -> str:
    return WORDS.get(number, str(number))


def header(name: str) -> str:
    """A header of a preflight, without API Gateway's quotes."""
    integration = PREFLIGHT["x-amazon-apigateway-integration"]
    parameters = integration["responses"]["default"]["responseParameters"]
    return str(parameters[f"method.response.header.{name}"]).strip("'")


def keys(schema: Any) -> list[str]:
    """The attributes of a key schema with their types, as the documents write them."""
    types = {each["AttributeName"]: each["AttributeType"] for each in TABLE["AttributeDefinitions"]}
    return [f"`{key['AttributeName']}` ({types[key['AttributeName']]})" for key in schema]


partition, sort = keys(TABLE["KeySchema"])
[INDEX] = TABLE["LocalSecondaryIndexes"]
by_date = keys(INDEX["KeySchema"])[1].removesuffix(")").split("` (")
uploads, versions = BUCKET["LifecycleConfiguration"]["Rules"]
rate, burst = (TEMPLATE["Parameters"][name]["Default"] for name in ("RateLimit", "BurstLimit"))
_, deletes = API["MethodSettings"]
rate_of_deletes, burst_of_deletes = deletes["ThrottlingRateLimit"], deletes["ThrottlingBurstLimit"]
limits = (
    f"{rate} requests a second and bursts of {burst} for each method, {rate_of_deletes} and "
    f"{burst_of_deletes} for deletes"
)
seconds, memory = FUNCTION["Timeout"], FUNCTION["MemorySize"]
origin = TEMPLATE["Parameters"]["AllowedOrigin"]["Default"]
exposed = re.sub(r"([\w-]+)", r"`\1`", header("Access-Control-Expose-Headers"))
exposed = " and ".join(exposed.replace(",", ", ").rsplit(", ", 1))
alarms = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
minutes = {
    name: alarm["Period"] * alarm["EvaluationPeriods"] // 60 for name, alarm in alarms.items()
}
# What a list of the stack's properties says of it.
table = {
    "on demand": TABLE["BillingMode"] == "PAY_PER_REQUEST",
    "point-in-time recovery": TABLE["PointInTimeRecoverySpecification"][
        "PointInTimeRecoveryEnabled"
    ],
    "deletion protection": TABLE["DeletionProtectionEnabled"],
}
[policy] = properties("JobFilesBucketPolicy")["PolicyDocument"]["Statement"]
bucket = {
    "private": all(BUCKET["PublicAccessBlockConfiguration"].values()),
    "TLS only": policy["Condition"] == {"Bool": {"aws:SecureTransport": "false"}},
    "versioned": BUCKET["VersioningConfiguration"]["Status"] == "Enabled",
}

SENTENCES = [
    *(
        (DEPLOY, f"the {name}: {', '.join(each for each in has if has[each])};")
        for name, has in {"table": table, "bucket": bucket}.items()
    ),
    (DEPLOY, f"The table needs the keys {partition} and {sort}"),
    (DEPLOY, f"empty | the index that the list reads, `{INDEX['IndexName']}`"),
    (DEPLOY, f"| `ALLOWED_ORIGIN` | | `{origin}` |"),
    (
        DEPLOY,
        f"aborted after {uploads['AbortIncompleteMultipartUpload']['DaysAfterInitiation']} days, "
        f"old versions expire after {versions['NoncurrentVersionExpiration']['NoncurrentDays']} "
        "days",
    ),
    (DEPLOY, f"the Lambda: {FUNCTION['Architectures'][0]}, {memory:,} MB, {seconds} seconds"),
    (DEPLOY, f"the API Gateway stage: {limits}"),
    (DEPLOY, f"a log group that keeps {LOGS['RetentionInDays']} days, {words(len(alarms))} alarms"),
    (DEPLOY, f"the CloudFormation stack `{STACK['stack_name']}`"),
    (DEPLOY, f"`sam delete --stack-name {STACK['stack_name']} --region"),
    # Chalice's default, which the stack has as well.
    (
        DEPLOY,
        f"aws apigateway create-deployment --rest-api-id <id> --stage-name {API['StageName']}",
    ),
    (OPERATIONS, f"The table has the partition key {partition} and the sort key {sort}."),
    (OPERATIONS, f"| {by_date[0]}` | {by_date[1]}, the sort key of `{INDEX['IndexName']}` |"),
    (OPERATIONS, f"--rest-api-id <RestAPIId> --stage-name {API['StageName']}"),
    (
        OPERATIONS,
        f"The stage lets {rate_of_deletes} deletes a second through, with bursts of "
        f"{burst_of_deletes}, for all users together. Each may take {seconds} seconds",
    ),
    (OPERATIONS, f"The stack has {words(len(alarms))} alarms."),
    *(
        (OPERATIONS, f"| `{name}` | {when} {minutes[name]} minutes |")
        for name, when in {
            "ServerErrorsAlarm": "any 5xx within",
            "FunctionErrorsAlarm": "the Lambda crashed or timed out within",
            "FunctionThrottlesAlarm": "Lambda refused to run the function within",
            "LatencyAlarm": (
                f"{100 - int(LATENCY['ExtendedStatistic'].removeprefix('p'))} % of the requests "
                f"took more than {LATENCY['Threshold'] // 1000} seconds, for"
            ),
        }.items()
    ),
    (PERFORMANCE, f"({memory / WHOLE_PROCESSOR_MB:.0%} at {memory:,} MB)".replace("%", " %")),
    (PERFORMANCE, f"{seconds} s (Lambda)"),
    (PERFORMANCE, f"| {limits}: these are the stack's own settings"),
    (
        PERFORMANCE,
        f"at {seconds} s each they take {rate_of_deletes * seconds + burst_of_deletes} at most",
    ),
    (
        FRONTEND,
        f"can send {rate} requests a second of each route (bursts of {burst}), and "
        f"{rate_of_deletes} deletes ({burst_of_deletes});",
    ),
    (FRONTEND, f"is kept for {words(int(header('Access-Control-Max-Age')) // 60)} minutes"),
    (FRONTEND, f"Pages of `ALLOWED_ORIGIN` can read every response, errors too, with {exposed}."),
    (OPENAPI, f"pages can read {exposed}."),
    (OPENAPI, f"valid for {int(header('Access-Control-Max-Age')) // 60} minutes."),
    (OPENAPI, f"url: https://{{host}}/{API['StageName']}"),
]


@pytest.mark.parametrize(("document", "sentence"), SENTENCES, ids=lambda text: text[:40])
def test_a_document_has_the_figures_and_names_of_the_stack(document: str, sentence: str) -> None:
    text = " ".join((ROOT / document).read_text().split())
    # The sentence's first and last word or number are whole.
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(sentence)}(?!\w|[.,]\d)"
    assert re.search(pattern, text), f"{document} does not have: {sentence}"


def test_the_documents_table_of_alarms_is_the_stacks() -> None:
    documented = re.findall(r"^\| `(\w+Alarm)` \|", (ROOT / OPERATIONS).read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(alarms)


def test_the_outputs_that_the_documents_name_are_the_stacks() -> None:
    text = "".join((ROOT / name).read_text() for name in (FRONTEND, OPENAPI, OPERATIONS))
    names = set(re.findall(r"stack's output `?(\w+)|// (UserPool\w+)|<(RestAPI\w+)>", text))
    named = {"".join(groups) for groups in names}
    assert {"EndpointURL", "UserPoolId", "UserPoolClientId", "RestAPIId"} <= named
    assert named <= set(TEMPLATE["Outputs"])
