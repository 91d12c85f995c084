"""What the documentation promises of the deployed stack stands next to the settings that keep it.

Whoever changes a sentence or a setting changes this table too, and sees what else it concerns.
"""

import copy
import json
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from dev.package import ROOT

MISSING = "missing"
KEPT = ("JobRequestsTable", "JobFilesBucket", "JobFilesBucketPolicy", "UserPool", "UserPoolClient")
# API Gateway's metrics have the API's name, which is its title, and its stage.
API_METRICS = {
    "Namespace": "AWS/ApiGateway",
    "Dimensions": [
        {"Name": "ApiName", "Value": {"Ref": "AWS::StackName"}},
        {"Name": "Stage", "Value": "api"},
    ],
}
LAMBDA_METRICS = {
    "Namespace": "AWS/Lambda",
    "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "APIHandler"}}],
}
ANY_IN_5_MINUTES = {
    "Statistic": "Sum",
    "Period": 300,
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanThreshold",
    "Threshold": 0,
}
# A time without requests is no alarm.
ALARM = {
    "TreatMissingData": "notBreaching",
    "AlarmActions": {"Fn::If": ["HasAlarmEmail", [{"Ref": "AlarmTopic"}], []]},
}


class Promise(NamedTuple):
    """A sentence of a document, and the settings that make it true.

    settings: keys below the template's Resources, separated by spaces, and their values.
    """

    document: str
    sentence: str
    settings: dict[str, Any]


def alarm(name: str, sentence: str, settings: dict[str, Any]) -> Promise:
    """A row of the table of alarms; `settings` are all properties but the description."""
    return Promise(
        "docs/operations.md",
        f"| `{name}` | {sentence} |",
        {f"{name} Properties {key}": value for key, value in (settings | ALARM).items()}
        # A missing one means that every period has to be above the threshold.
        | {f"{name} Properties DatapointsToAlarm": MISSING, f"{name} Condition": MISSING},
    )


PROMISES = [
    Promise(
        "docs/deploy.md",
        "its index holds only what the list shows",
        {
            "JobRequestsTable Properties LocalSecondaryIndexes": [
                {
                    "IndexName": "byDate",
                    "KeySchema": [
                        {"AttributeName": "userId", "KeyType": "HASH"},
                        {"AttributeName": "date", "KeyType": "RANGE"},
                    ],
                    "Projection": {
                        "ProjectionType": "INCLUDE",
                        "NonKeyAttributes": ["jobName", "contentLength", "creditsSpent", "status"],
                    },
                }
            ],
            "APIHandler Properties Environment Variables JOB_LIST_INDEX": "byDate",
        },
    ),
    Promise(
        "docs/deploy.md",
        "pages of `ALLOWED_ORIGIN` can read its files",
        {
            "JobFilesBucket Properties CorsConfiguration CorsRules": [
                {
                    "AllowedOrigins": [{"Ref": "AllowedOrigin"}],
                    "AllowedMethods": ["GET", "HEAD"],
                    "AllowedHeaders": ["*"],
                    "ExposedHeaders": ["Content-Disposition", "ETag"],
                    "MaxAge": 600,
                }
            ],
        },
    ),
    Promise(
        "docs/deploy.md",
        "a client for browsers, which log in by SRP or by password",
        {
            "UserPoolClient Properties UserPoolId": {"Ref": "UserPool"},
            "UserPoolClient Properties ExplicitAuthFlows": [
                "ALLOW_USER_SRP_AUTH",
                "ALLOW_USER_PASSWORD_AUTH",
                "ALLOW_REFRESH_TOKEN_AUTH",
            ],
        },
    ),
    Promise(
        "docs/deploy.md",
        "the table: on demand, point-in-time recovery, deletion protection",
        {
            "JobRequestsTable Properties BillingMode": "PAY_PER_REQUEST",
            "JobRequestsTable Properties PointInTimeRecoverySpecification": {
                "PointInTimeRecoveryEnabled": True
            },
            "JobRequestsTable Properties DeletionProtectionEnabled": True,
        },
    ),
    Promise(
        "docs/deploy.md",
        "the bucket: private, TLS only, versioned; unfinished uploads are aborted after 7 days, "
        "old versions expire after 30 days",
        {
            "JobFilesBucket Properties PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "JobFilesBucketPolicy Properties PolicyDocument Statement": [
                {
                    "Sid": "TlsOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [
                        {"Fn::GetAtt": ["JobFilesBucket", "Arn"]},
                        {"Fn::Sub": "${JobFilesBucket.Arn}/*"},
                    ],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
            "JobFilesBucket Properties VersioningConfiguration": {"Status": "Enabled"},
            "JobFilesBucket Properties LifecycleConfiguration Rules": [
                {
                    "Id": "abort-unfinished-uploads",
                    "Status": "Enabled",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                },
                {
                    "Id": "expire-old-versions",
                    "Status": "Enabled",
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                    "ExpiredObjectDeleteMarker": True,
                },
            ],
        },
    ),
    Promise(
        "docs/deploy.md",
        "the user pool, in which anybody can sign up with an e-mail address, and a client for "
        "browsers",
        {
            # Without it anybody can sign up.
            "UserPool Properties AdminCreateUserConfig": MISSING,
            "UserPool Properties UsernameAttributes": ["email"],
            "UserPool Properties DeletionProtection": "ACTIVE",
            "UserPoolClient Properties GenerateSecret": False,
        },
    ),
    Promise(
        "docs/deploy.md",
        "The table, the bucket with its policy, and the user pool with its client are kept",
        {
            f"{name} {policy}": "Retain"
            for name in KEPT
            for policy in ("DeletionPolicy", "UpdateReplacePolicy")
        },
    ),
    Promise(
        "docs/deploy.md",
        "the Lambda: arm64, 1,024 MB, 27 seconds",
        {
            "APIHandler Properties Architectures": ["arm64"],
            "APIHandler Properties MemorySize": 1024,
            "APIHandler Properties Timeout": 27,
        },
    ),
    Promise(
        "docs/deploy.md",
        "the API Gateway stage: 50 requests a second and bursts of 100 for each method",
        {
            "RestAPI Properties MethodSettings": [
                {
                    "ResourcePath": "/*",
                    "HttpMethod": "*",
                    "ThrottlingRateLimit": 50,
                    "ThrottlingBurstLimit": 100,
                }
            ]
        },
    ),
    Promise(
        "openapi.yaml",
        "A 429 or a 503 has the seconds to wait in `Retry-After`.",
        {
            "RestAPI Properties GatewayResponses THROTTLED StatusCode": 429,
            "RestAPI Properties GatewayResponses THROTTLED ResponseParameters Headers "
            "Retry-After": "'5'",
        },
    ),
    Promise(
        "openapi.yaml",
        "Every response has the CORS headers, errors too, and pages can read `ETag`, "
        "`Retry-After` and `X-Request-Id`.",
        {
            f"RestAPI Properties GatewayResponses {kind} ResponseParameters Headers {name}": value
            for kind in ("DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "UNAUTHORIZED", "EXPIRED_TOKEN")
            for name, value in {
                "Access-Control-Allow-Origin": {"Fn::Sub": "'${AllowedOrigin}'"},
                "Access-Control-Expose-Headers": "'ETag,Retry-After,X-Request-Id'",
                "X-Request-Id": "context.requestId",
            }.items()
        },
    ),
    Promise(
        "openapi.yaml",
        "A preflight allows `Authorization` and `If-None-Match`, and is valid for 10 minutes.",
        {
            f"RestAPI Properties DefinitionBody paths {path} options "
            "x-amazon-apigateway-integration responses default responseParameters "
            f"method.response.header.{name}": value
            for path in ("/jobs/list", "/jobs/get", "/jobs/get-object-url", "/jobs/delete")
            for name, value in {
                "Access-Control-Allow-Headers": "'Authorization,Content-Type,If-None-Match,"
                "X-Amz-Date,X-Amz-Security-Token,X-Api-Key'",
                "Access-Control-Max-Age": "'600'",
            }.items()
        },
    ),
    Promise(
        "docs/deploy.md",
        "a log group that keeps 30 days, four alarms and, with `ALARM_EMAIL`, their topic",
        {
            "APIHandlerLogs Properties RetentionInDays": 30,
            "APIHandler Properties LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": {"Ref": "APIHandlerLogs"},
            },
            "AlarmTopic Condition": "HasAlarmEmail",
        },
    ),
    Promise(
        "docs/operations.md",
        "The stack has four alarms. With `ALARM_EMAIL` they send a mail",
        {
            "AlarmTopic Properties Subscription": [
                {"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}
            ],
            # The dimensions of the metrics are those of an API that exists.
            "RestAPI Properties DefinitionBody info title": {"Ref": "AWS::StackName"},
            "RestAPI Properties StageName": "api",
        },
    ),
    alarm(
        "ServerErrorsAlarm",
        "any 5xx within 5 minutes",
        API_METRICS | ANY_IN_5_MINUTES | {"MetricName": "5XXError"},
    ),
    alarm(
        "FunctionErrorsAlarm",
        "the Lambda crashed or timed out within 5 minutes",
        LAMBDA_METRICS | ANY_IN_5_MINUTES | {"MetricName": "Errors"},
    ),
    alarm(
        "FunctionThrottlesAlarm",
        "Lambda refused to run the function within 5 minutes",
        LAMBDA_METRICS | ANY_IN_5_MINUTES | {"MetricName": "Throttles"},
    ),
    alarm(
        "LatencyAlarm",
        "1 % of the requests took more than 5 seconds, for 15 minutes",
        API_METRICS
        | {
            "MetricName": "Latency",
            "ExtendedStatistic": "p99",
            "Period": 300,
            "EvaluationPeriods": 3,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 5000,
        },
    ),
]
SETTINGS = {path: value for promise in PROMISES for path, value in promise.settings.items()}


@pytest.fixture(scope="module")
def resources(build: Path) -> Any:
    return yaml.safe_load((build / "template.yaml").read_text())["Resources"]


def setting(resources: Any, path: str) -> Any:
    return reduce(lambda value, key: value.get(key, MISSING), path.split(), resources)


def broken(resources: Any) -> list[str]:
    """The promised settings that the template does not have."""
    # As JSON, where True is not 1.
    return [
        path
        for path, value in SETTINGS.items()
        if json.dumps(setting(resources, path), sort_keys=True) != json.dumps(value, sort_keys=True)
    ]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.sentence[:40])
def test_the_documentation_has_each_promise(promise: Promise) -> None:
    text = (ROOT / promise.document).read_text()
    assert promise.sentence in " ".join(text.split())


def test_the_template_keeps_each_promise(resources: Any) -> None:
    assert broken(resources) == []


def test_the_alarms_are_the_promised_four(resources: Any) -> None:
    alarms = {n for n, r in resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
    assert alarms == {path.split()[0] for path in SETTINGS if path.endswith(" MetricName")}
    assert len(alarms) == 4


def changes(value: Any) -> Iterator[Any]:
    """The value with each of its parts changed or removed, one at a time."""
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
        case str():
            yield f"{value}x"
        case dict():
            for key, inner in value.items():
                yield {name: other for name, other in value.items() if name != key}
                yield from (value | {key: changed} for changed in changes(inner))
        case list():
            for index, inner in enumerate(value):
                head, tail = value[:index], value[index + 1 :]
                yield head + tail
                yield from ([*head, changed, *tail] for changed in changes(inner))


@pytest.mark.parametrize("path", SETTINGS)
def test_a_change_of_any_promised_setting_is_noticed(path: str, resources: Any) -> None:
    *parents, key = path.split()
    value = setting(resources, path)
    changed_values = ["added"] if value == MISSING else [MISSING, *changes(value)]
    for changed_value in changed_values:
        changed = copy.deepcopy(resources)
        parent = setting(changed, " ".join(parents))
        if changed_value == MISSING:
            del parent[key]
        else:
            parent[key] = changed_value
        assert set(broken(changed)) == {path, *broken(resources)}
