"""What the documentation promises of the deployed stack stands next to the settings that keep it.

Whoever changes a sentence or a setting changes this table too, and sees what else it concerns.
"""

import copy
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from dev.chalice_cli import PLACEHOLDER
from dev.package import ROOT

MISSING = "missing"
README, SECURITY, OPENAPI = "README.md", "SECURITY.md", "openapi.yaml"
DEPLOY, FRONTEND = "docs/deploy.md", "docs/frontend.md"
OPERATIONS, PERFORMANCE = "docs/operations.md", "docs/performance.md"
ROUTES = {
    "/jobs/list": "get",
    "/jobs/get": "get",
    "/jobs/get-object-url": "get",
    "/jobs/delete": "delete",
}
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
HEADERS = {
    "Access-Control-Allow-Headers": "'Authorization,Content-Type,If-None-Match,X-Amz-Date,"
    "X-Amz-Security-Token,X-Api-Key'",
    "Access-Control-Allow-Origin": {"Fn::Sub": "'${AllowedOrigin}'"},
    "Access-Control-Expose-Headers": "'ETag,Retry-After,X-Request-Id'",
    "Cache-Control": "'no-store'",
    "X-Content-Type-Options": "'nosniff'",
    "X-Request-Id": "context.requestId",
}
GATEWAY_RESPONSE = {
    "ResponseParameters": {"Headers": HEADERS},
    "ResponseTemplates": {"application/json": '{"message":$context.error.messageString}'},
}
UNAUTHORIZED = GATEWAY_RESPONSE | {
    "StatusCode": 401,
    "ResponseTemplates": {"application/json": '{"message":"Unauthorized"}'},
}


class Promise(NamedTuple):
    """Sentences of the documents, and the settings that make them true.

    sentences: pairs of a document and a text in it.
    settings: keys of `stack`, separated by spaces, and their whole values.
    """

    sentences: list[tuple[str, str]]
    settings: dict[str, Any]


def alarm(name: str, sentence: str, description: str, settings: dict[str, Any]) -> Promise:
    """A row of the table of alarms; the mail has the description."""
    return Promise(
        [(OPERATIONS, f"| `{name}` | {sentence} |")],
        {
            name: {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": settings | ALARM | {"AlarmDescription": description},
            }
        },
    )


def statements(
    logs: Any, table: Any, index: Any, bucket: Any, objects: Any, *, create_logs: Sequence[str] = ()
) -> list[Any]:
    """What the API is allowed to do, as statements of a policy about these resources."""
    return [
        {"Effect": "Allow", "Action": actions, "Resource": resource}
        for actions, resource in (
            ([*create_logs, "logs:CreateLogStream", "logs:PutLogEvents"], logs),
            (["dynamodb:DeleteItem", "dynamodb:GetItem"], table),
            ("dynamodb:Query", [table, index]),
            (["s3:ListBucketMultipartUploads", "s3:ListBucketVersions"], bucket),
            (
                [
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:DeleteObjectVersion",
                    "s3:GetObject",
                ],
                objects,
            ),
        )
    ]


PROMISES = [
    Promise(
        [
            (
                DEPLOY,
                "the table: on demand, point-in-time recovery, deletion protection; its index "
                "holds only what the list shows",
            ),
            (DEPLOY, "The table needs the keys `userId` (S) and `jobId` (N)"),
            (
                OPERATIONS,
                "The table has the partition key `userId` (S) and the sort key `jobId` (N).",
            ),
            (OPERATIONS, "| `date` | S, the sort key of `byDate` |"),
            # The account's quotas: the table has no lower limits of its own.
            (
                PERFORMANCE,
                '| DynamoDB "Table-level read throughput", on demand | 40,000 read units',
            ),
        ],
        {
            "JobRequestsTable Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "DeletionProtectionEnabled": True,
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "AttributeDefinitions": [
                    {"AttributeName": "userId", "AttributeType": "S"},
                    {"AttributeName": "jobId", "AttributeType": "N"},
                    {"AttributeName": "date", "AttributeType": "S"},
                ],
                "KeySchema": [
                    {"AttributeName": "userId", "KeyType": "HASH"},
                    {"AttributeName": "jobId", "KeyType": "RANGE"},
                ],
                "LocalSecondaryIndexes": [
                    {
                        "IndexName": "byDate",
                        "KeySchema": [
                            {"AttributeName": "userId", "KeyType": "HASH"},
                            {"AttributeName": "date", "KeyType": "RANGE"},
                        ],
                        "Projection": {
                            "ProjectionType": "INCLUDE",
                            "NonKeyAttributes": [
                                "jobName",
                                "contentLength",
                                "creditsSpent",
                                "status",
                            ],
                        },
                    }
                ],
            },
        },
    ),
    Promise(
        [
            (
                DEPLOY,
                "the bucket: private, TLS only, versioned; unfinished uploads are aborted after "
                "7 days, old versions expire after 30 days; pages of `ALLOWED_ORIGIN` can read its "
                "files",
            ),
            # BucketEncryption is missing.
            (OPERATIONS, "The stack's own bucket has no such key."),
        ],
        {
            "JobFilesBucket Properties": {
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "VersioningConfiguration": {"Status": "Enabled"},
                "CorsConfiguration": {
                    "CorsRules": [
                        {
                            "AllowedOrigins": [{"Ref": "AllowedOrigin"}],
                            "AllowedMethods": ["GET", "HEAD"],
                            "AllowedHeaders": ["*"],
                            "ExposedHeaders": ["Content-Disposition", "ETag"],
                            "MaxAge": 600,
                        }
                    ]
                },
                "LifecycleConfiguration": {
                    "Rules": [
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
                    ]
                },
            },
            "JobFilesBucketPolicy Properties": {
                "Bucket": {"Ref": "JobFilesBucket"},
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
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
                },
            },
        },
    ),
    Promise(
        [
            (
                DEPLOY,
                "the user pool, in which anybody can sign up with an e-mail address, and change it "
                "to one that they confirm, and a client for browsers, which log in by SRP or by "
                "password",
            ),
            (
                SECURITY,
                "In the stack's pool it is everybody who can read mail at the address that they "
                "give.",
            ),
            # EmailConfiguration is missing.
            (
                PERFORMANCE,
                "| Cognito's own mail, for the codes of sign-up and of forgotten passwords",
            ),
            # An hour is how long tokens are valid by default.
            (
                PERFORMANCE,
                "a million users who are active for an hour renew their tokens 280 times a second",
            ),
        ],
        {
            # Without AdminCreateUserConfig anybody can sign up.
            "UserPool Properties": {
                "DeletionProtection": "ACTIVE",
                "UsernameAttributes": ["email"],
                "UsernameConfiguration": {"CaseSensitive": False},
                "AutoVerifiedAttributes": ["email"],
                "UserAttributeUpdateSettings": {
                    "AttributesRequireVerificationBeforeUpdate": ["email"]
                },
                "AccountRecoverySetting": {
                    "RecoveryMechanisms": [{"Name": "verified_email", "Priority": 1}]
                },
                "Policies": {"PasswordPolicy": {"MinimumLength": 12}},
            },
            "UserPoolClient Properties": {
                "UserPoolId": {"Ref": "UserPool"},
                "GenerateSecret": False,
                "PreventUserExistenceErrors": "ENABLED",
                "ExplicitAuthFlows": [
                    "ALLOW_USER_SRP_AUTH",
                    "ALLOW_USER_PASSWORD_AUTH",
                    "ALLOW_REFRESH_TOKEN_AUTH",
                ],
            },
        },
    ),
    Promise(
        [
            (
                DEPLOY,
                "The table, the bucket with its policy, and the user pool with its client are kept",
            ),
            (
                DEPLOY,
                "Resources that are kept on deletion (the table, the bucket, the user pool)",
            ),
        ],
        {
            f"{name} {attribute}": value
            for name in KEPT
            for attribute, value in {
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Condition": MISSING,
            }.items()
        },
    ),
    Promise(
        [
            (DEPLOY, "the Lambda: arm64, 1,024 MB, 27 seconds"),
            (DEPLOY, "Lambda's Python version is that of the interpreter that packages the app"),
            (DEPLOY, "`build/deployment.zip` and `build/template.yaml` for stage `prod`"),
            (OPERATIONS, "The Lambda writes one JSON line per request"),
            (PERFORMANCE, "at Lambda's share of a processor (58 % at 1,024 MB)"),
            (PERFORMANCE, "arm64, us-east-1"),
            (PERFORMANCE, "27 s (Lambda)"),
            # The account's quota: no concurrency is reserved.
            (PERFORMANCE, '| Lambda "Concurrent executions" | 1,000, less in new accounts'),
        ],
        {
            "APIHandler": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "Architectures": ["arm64"],
                    "MemorySize": 1024,
                    "Timeout": 27,
                    "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
                    "Handler": "app.app",
                    "CodeUri": "./deployment.zip",
                    "Role": {"Fn::GetAtt": ["ApiHandlerRole", "Arn"]},
                    "Environment": {
                        "Variables": {
                            "USER_POOL_ARN": {"Fn::GetAtt": ["UserPool", "Arn"]},
                            "JOB_REQUESTS_TABLE": {"Ref": "JobRequestsTable"},
                            "JOB_FILES_BUCKET": {"Ref": "JobFilesBucket"},
                            "JOB_LIST_INDEX": "byDate",
                            "ALLOWED_ORIGIN": {"Ref": "AllowedOrigin"},
                        }
                    },
                    "LoggingConfig": {
                        "LogFormat": "JSON",
                        "LogGroup": {"Ref": "APIHandlerLogs"},
                    },
                    "Tags": {
                        "aws-chalice": f"version={version('chalice')}:stage=prod:app=jobs-api"
                    },
                    "Tracing": "PassThrough",
                },
            },
        },
    ),
    Promise(
        [
            (DEPLOY, "a role that allows only what the API does"),
            (OPERATIONS, "the role may not list the bucket, so S3 does not say 404"),
        ],
        {
            "ApiHandlerRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Sid": "",
                                "Effect": "Allow",
                                "Principal": {"Service": "lambda.amazonaws.com"},
                                "Action": "sts:AssumeRole",
                            }
                        ],
                    },
                    "Policies": [
                        {
                            "PolicyName": "JobsApi",
                            "PolicyDocument": {
                                "Version": "2012-10-17",
                                "Statement": statements(
                                    {"Fn::GetAtt": ["APIHandlerLogs", "Arn"]},
                                    {"Fn::GetAtt": ["JobRequestsTable", "Arn"]},
                                    {"Fn::Sub": "${JobRequestsTable.Arn}/index/byDate"},
                                    {"Fn::GetAtt": ["JobFilesBucket", "Arn"]},
                                    {"Fn::Sub": "${JobFilesBucket.Arn}/*"},
                                ),
                            },
                        }
                    ],
                },
            },
        },
    ),
    Promise(
        [
            (
                DEPLOY,
                "the API Gateway stage: 50 requests a second and bursts of 100 for each method, "
                "10 and 20 for deletes",
            ),
            (
                PERFORMANCE,
                "The stage's limit of 50 requests a second with bursts of 100 is for each method "
                "here",
            ),
            (
                PERFORMANCE,
                "| 50 requests a second and bursts of 100 for each method, 10 and 20 for deletes: "
                "these are the stack's own settings",
            ),
            (OPERATIONS, "The stage lets 10 deletes a second through, with bursts of 20, for"),
            (
                FRONTEND,
                "All users together can send 50 requests a second of each route, with bursts of "
                "100, and 10 deletes a second, with bursts of 20;",
            ),
            # AccessLogSetting is missing.
            (OPERATIONS, "so the stack leaves them off"),
            (OPERATIONS, "aws apigateway update-stage --rest-api-id <RestAPIId> --stage-name api"),
            (OPENAPI, "stage: {default: api}"),
        ],
        {
            # Without DefinitionBody and GatewayResponses, see `stack`.
            "RestAPI Properties": {
                # SAM looks for changes before parameters are resolved; without this, another
                # AllowedOrigin would not reach the gateway's own responses.
                "AlwaysDeploy": True,
                "EndpointConfiguration": "REGIONAL",
                "MethodSettings": [
                    {
                        "ResourcePath": "/*",
                        "HttpMethod": "*",
                        "ThrottlingRateLimit": 50,
                        "ThrottlingBurstLimit": 100,
                    },
                    {
                        "ResourcePath": "/~1jobs~1delete",
                        "HttpMethod": "DELETE",
                        "ThrottlingRateLimit": 10,
                        "ThrottlingBurstLimit": 20,
                    },
                ],
                "MinimumCompressionSize": 1024,
                "OpenApiVersion": "2.0",
                "StageName": "api",
            },
        },
    ),
    Promise(
        [
            (OPENAPI, "A 429 or a 503 has the seconds to wait in `Retry-After`."),
            (FRONTEND, "A 429 or 503 has the seconds to wait in `Retry-After`."),
            (OPENAPI, "Each has a `message` that can be shown to the user."),
            (FRONTEND, "Every error body has a `message` that you can show."),
            (FRONTEND, "Every response has an `X-Request-Id`"),
            (
                OPENAPI,
                "Every response has the CORS headers, errors too, and pages can read `ETag`, "
                "`Retry-After` and `X-Request-Id`.",
            ),
            (
                FRONTEND,
                "Pages of `ALLOWED_ORIGIN` can read every response, errors too, with `ETag`, "
                "`Retry-After` and `X-Request-Id`.",
            ),
            (OPERATIONS, "| 401 `Unauthorized` | no token, an expired one, another pool's, or"),
        ],
        {
            "GatewayResponses": {
                "DEFAULT_4XX": GATEWAY_RESPONSE,
                "DEFAULT_5XX": GATEWAY_RESPONSE,
                "THROTTLED": GATEWAY_RESPONSE
                | {
                    "StatusCode": 429,
                    "ResponseParameters": {"Headers": HEADERS | {"Retry-After": "'5'"}},
                },
                "UNAUTHORIZED": UNAUTHORIZED,
                "EXPIRED_TOKEN": UNAUTHORIZED,
            },
        },
    ),
    Promise(
        [
            (
                OPENAPI,
                "A preflight allows `Authorization` and `If-None-Match`, and is valid for "
                "10 minutes.",
            ),
            (FRONTEND, "a preflight before each request, which otherwise is kept for ten minutes"),
        ],
        {
            f"DefinitionBody paths {path} options x-amazon-apigateway-integration responses": {
                "default": {
                    "statusCode": "200",
                    "responseParameters": {
                        f"method.response.header.{name}": value
                        for name, value in {
                            **HEADERS,
                            "Access-Control-Allow-Methods": f"'{method.upper()},OPTIONS'",
                            "Access-Control-Max-Age": "'600'",
                        }.items()
                    },
                }
            }
            for path, method in ROUTES.items()
        },
    ),
    Promise(
        [
            # API Gateway's default: timeoutInMillis is missing.
            (OPENAPI, "API Gateway got no response from the API, or none within 29 seconds."),
            (OPERATIONS, "when no response comes within 29 seconds"),
            (PERFORMANCE, '29 s (API Gateway "Integration timeout")'),
        ],
        {
            f"DefinitionBody paths {path} {method} x-amazon-apigateway-integration": {
                "type": "aws_proxy",
                "httpMethod": "POST",
                "uri": {
                    "Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path"
                    "/2015-03-31/functions/${APIHandler.Arn}/invocations"
                },
                "contentHandling": "CONVERT_TO_TEXT",
                "passthroughBehavior": "when_no_match",
                "responses": {"default": {"statusCode": "200"}},
            }
            for path, method in ROUTES.items()
        }
        | {
            "APIHandlerInvokePermission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": {"Ref": "APIHandler"},
                    "Principal": "apigateway.amazonaws.com",
                    "SourceArn": {
                        "Fn::Sub": [
                            "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}"
                            ":${RestAPIId}/*",
                            {"RestAPIId": {"Ref": "RestAPI"}},
                        ]
                    },
                },
            },
        },
    ),
    Promise(
        [
            (README, "API Gateway<br>checks the token"),
            (SECURITY, "| API Gateway's Cognito authorizer;"),
            (OPENAPI, "Every route needs an **ID token** of the Cognito user pool in"),
            (FRONTEND, "Send the user pool's **ID token**, not the access token, in"),
        ],
        {
            "DefinitionBody securityDefinitions": {
                "Users": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "x-amazon-apigateway-authtype": "cognito_user_pools",
                    "x-amazon-apigateway-authorizer": {
                        "type": "cognito_user_pools",
                        "providerARNs": [{"Fn::GetAtt": ["UserPool", "Arn"]}],
                    },
                }
            },
        }
        | {
            f"DefinitionBody paths {path} {method} security": [{"Users": []}]
            for path, method in ROUTES.items()
        },
    ),
    Promise(
        [
            (
                DEPLOY,
                "the stack's outputs: the API's URL, the names of the table and the bucket, the "
                "ids of the user pool and its client",
            ),
            (FRONTEND, "The base URL is the stack's output `EndpointURL`."),
            (FRONTEND, 'jobsApi("https://….amazonaws.com/api",'),
            (FRONTEND, "// the stack's output UserPoolId"),
            (FRONTEND, "// UserPoolClientId"),
            (OPENAPI, "The stack's output EndpointURL has the whole URL."),
        ],
        {
            "Outputs": {
                name: {"Value": value}
                for name, value in {
                    "EndpointURL": {
                        "Fn::Sub": "https://${RestAPI}.execute-api.${AWS::Region}"
                        ".${AWS::URLSuffix}/api/"
                    },
                    "RestAPIId": {"Ref": "RestAPI"},
                    "APIHandlerName": {"Ref": "APIHandler"},
                    "APIHandlerArn": {"Fn::GetAtt": ["APIHandler", "Arn"]},
                    "JobRequestsTableName": {"Ref": "JobRequestsTable"},
                    "JobFilesBucketName": {"Ref": "JobFilesBucket"},
                    "UserPoolId": {"Ref": "UserPool"},
                    "UserPoolArn": {"Fn::GetAtt": ["UserPool", "Arn"]},
                    "UserPoolClientId": {"Ref": "UserPoolClient"},
                }.items()
            },
        },
    ),
    Promise(
        [
            (DEPLOY, "a log group that keeps 30 days"),
            # It is not among the resources that are kept.
            (
                DEPLOY,
                "The table, the bucket with its policy, and the user pool with its client are kept",
            ),
        ],
        {
            "APIHandlerLogs": {
                "Type": "AWS::Logs::LogGroup",
                "DeletionPolicy": "Delete",
                "UpdateReplacePolicy": "Delete",
                "Properties": {"RetentionInDays": 30},
            },
        },
    ),
    Promise(
        [
            (DEPLOY, "four alarms and, with `ALARM_EMAIL`, their topic"),
            (DEPLOY, "`ALARM_EMAIL=` removes the address"),
            (OPERATIONS, "The stack has four alarms. With `ALARM_EMAIL` they send a mail"),
        ],
        {
            "AlarmTopic": {
                "Type": "AWS::SNS::Topic",
                "Condition": "HasAlarmEmail",
                "Properties": {
                    "Subscription": [{"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}]
                },
            },
            "Conditions": {
                "HasAlarmEmail": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}
            },
            "Parameters AlarmEmail Default": "",
            # The dimensions of the metrics are those of an API that exists.
            "DefinitionBody info title": {"Ref": "AWS::StackName"},
        },
    ),
    alarm(
        "ServerErrorsAlarm",
        "any 5xx within 5 minutes",
        "The API responded with 5xx.",
        API_METRICS | ANY_IN_5_MINUTES | {"MetricName": "5XXError"},
    ),
    alarm(
        "FunctionErrorsAlarm",
        "the Lambda crashed or timed out within 5 minutes",
        "The function ended without a response: it crashed, or its time was over.",
        LAMBDA_METRICS | ANY_IN_5_MINUTES | {"MetricName": "Errors"},
    ),
    alarm(
        "FunctionThrottlesAlarm",
        "Lambda refused to run the function within 5 minutes",
        "Lambda refused requests: too many ran at once.",
        LAMBDA_METRICS | ANY_IN_5_MINUTES | {"MetricName": "Throttles"},
    ),
    alarm(
        "LatencyAlarm",
        "1 % of the requests took more than 5 seconds, for 15 minutes",
        "One response in a hundred took longer than 5 seconds.",
        # Without DatapointsToAlarm, each of the periods has to be above the threshold.
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
    Promise(
        [(DEPLOY, "| `ALLOWED_ORIGIN` | | `*` | the one origin whose pages may call the API |")],
        {"Parameters AllowedOrigin Default": "*"},
    ),
    Promise(
        [
            (DEPLOY, "the CloudFormation stack `jobs-api` (another name: `STACK=…`)"),
            (DEPLOY, "`sam delete --stack-name jobs-api --region eu-central-1`"),
        ],
        {"samconfig.toml default global parameters": {"stack_name": "jobs-api"}},
    ),
    Promise(
        [
            (
                DEPLOY,
                "Fill in the placeholders of stage `prod` in `.chalice/config.json` and "
                "`.chalice/policy-prod.json`",
            ),
            (DEPLOY, "`JOB_LIST_INDEX` | | empty | the index that the list reads, `byDate`"),
            # Chalice's default.
            (DEPLOY, "aws apigateway create-deployment --rest-api-id <id> --stage-name api"),
        ],
        {
            "config.json": {
                "version": "2.0",
                "app_name": "jobs-api",
                "automatic_layer": False,
                "api_gateway_endpoint_type": "REGIONAL",
                "minimum_compression_size": 1024,
                "lambda_architecture": "arm64",
                "lambda_memory_size": 1024,
                "lambda_timeout": 27,
                "stages": {
                    "dev": {},
                    "prod": {
                        "autogen_policy": False,
                        "iam_policy_file": "policy-prod.json",
                        "environment_variables": {
                            "USER_POOL_ARN": f"{PLACEHOLDER}: the ARN of the user pool",
                            "JOB_REQUESTS_TABLE": f"{PLACEHOLDER}: the name of the table",
                            "JOB_FILES_BUCKET": f"{PLACEHOLDER}: the name of the bucket",
                            "JOB_LIST_INDEX": "byDate",
                            "ALLOWED_ORIGIN": "*",
                        },
                    },
                },
            },
            "policy-prod.json": {
                "Version": "2012-10-17",
                # Lambda makes the log group, and names it by the app's name and the stage.
                "Statement": statements(
                    "arn:*:logs:*:*:log-group:/aws/lambda/jobs-api-prod:*",
                    *(
                        f"{PLACEHOLDER}, in .chalice/policy-prod.json: the ARN of the {what}"
                        for what in (
                            "table",
                            "table, then /index/byDate",
                            "bucket",
                            "bucket, then /*",
                        )
                    ),
                    create_logs=["logs:CreateLogGroup"],
                ),
            },
        },
    ),
]
SENTENCES = [pair for promise in PROMISES for pair in promise.sentences]
SETTINGS = {path: value for promise in PROMISES for path, value in promise.settings.items()}


@pytest.fixture(scope="module")
def template(build: Path) -> Any:
    return yaml.safe_load((build / "template.yaml").read_text())


@pytest.fixture(scope="module")
def stack(template: Any) -> Any:
    """The template's resources, and next to them its other sections and the files of settings.

    RestAPI's large properties stand next to it too, so that its others can be compared whole.
    """
    resources = copy.deepcopy(template["Resources"])
    api = resources["RestAPI"]["Properties"]
    return (
        resources
        | {name: api.pop(name) for name in ("DefinitionBody", "GatewayResponses")}
        | {name: template[name] for name in ("Parameters", "Conditions", "Outputs")}
        | {
            name: json.loads((ROOT / ".chalice" / name).read_text())
            for name in ("config.json", "policy-prod.json")
        }
        | {"samconfig.toml": tomllib.loads((ROOT / "samconfig.toml").read_text())}
    )


def setting(stack: Any, path: str) -> Any:
    return reduce(lambda value, key: value.get(key, MISSING), path.split(), stack)


def as_json(value: Any) -> str:
    """As JSON, where True is not 1."""
    return json.dumps(value, sort_keys=True, indent=1)


def broken(stack: Any) -> list[str]:
    """The promised settings that the stack does not have."""
    return [
        path for path, value in SETTINGS.items() if as_json(setting(stack, path)) != as_json(value)
    ]


def states(text: str, sentence: str) -> bool:
    """Whether the text has the sentence, whose first and last word or number are whole."""
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(sentence)}(?!\w|[.,]\d)"
    return bool(re.search(pattern, " ".join(text.split())))


@pytest.mark.parametrize(("document", "sentence"), SENTENCES, ids=lambda text: text[:40])
def test_the_documentation_has_each_promise(document: str, sentence: str) -> None:
    assert states((ROOT / document).read_text(), sentence)


def test_all_that_the_stack_is_said_to_have_is_in_the_table() -> None:
    text = (ROOT / DEPLOY).read_text().partition("The stack has:")[2].partition("**Update**")[0]
    for sentence in sorted((sentence for _, sentence in SENTENCES), key=len, reverse=True):
        text = text.replace(sentence, "")
    assert re.findall(r"\w+", text) == ["and"]


@pytest.mark.parametrize("path", SETTINGS)
def test_the_stack_keeps_each_promise(path: str, stack: Any) -> None:
    assert as_json(setting(stack, path)) == as_json(SETTINGS[path])


def test_every_resource_is_in_the_table(template: Any) -> None:
    assert set(template["Resources"]) <= {path.split()[0] for path in SETTINGS}
    # SAM would add them to the resources' properties.
    assert "Globals" not in template


def test_the_alarms_are_the_promised_four(template: Any) -> None:
    resources = template["Resources"].items()
    alarms = [name for name, found in resources if found["Type"] == "AWS::CloudWatch::Alarm"]
    documented = re.findall(r"^\| `(\w+Alarm)` \|", (ROOT / OPERATIONS).read_text(), re.MULTILINE)
    assert sorted(alarms) == sorted(documented)
    assert len(alarms) == 4


def changes(value: Any) -> Iterator[Any]:
    """The value with each of its parts changed, removed or added to, one at a time."""
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
        case str():
            yield f"{value}x"
        case dict():
            yield value | {"added": "added"}
            for key, inner in value.items():
                yield {name: other for name, other in value.items() if name != key}
                yield from (value | {key: changed} for changed in changes(inner))
        case list():
            yield [*value, "added"]
            for index, inner in enumerate(value):
                head, tail = value[:index], value[index + 1 :]
                yield head + tail
                yield from ([*head, changed, *tail] for changed in changes(inner))


@pytest.mark.parametrize("path", SETTINGS)
def test_a_change_of_any_promised_setting_is_noticed(path: str, stack: Any) -> None:
    *parents, key = path.split()
    value = setting(stack, path)
    changed_values = ["added"] if value == MISSING else [MISSING, *changes(value)]
    for changed_value in changed_values:
        changed = copy.deepcopy(stack)
        parent = setting(changed, " ".join(parents))
        if changed_value == MISSING:
            del parent[key]
        else:
            parent[key] = changed_value
        assert set(broken(changed)) == {path, *broken(stack)}
