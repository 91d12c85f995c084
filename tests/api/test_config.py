"""chalicelib/config.py: the environment, checked."""

import re

import pytest

from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from tests.support.events import ENVIRON

ARN = ENVIRON["USER_POOL_ARN"]
NEEDED = ("USER_POOL_ARN", "JOB_REQUESTS_TABLE", "JOB_FILES_BUCKET")
REGION = "an AWS region, like eu-central-1"
URL = "a URL like http://127.0.0.1:4566"
EXPECTED = {
    "USER_POOL_ARN": (
        "the ARN of a Cognito user pool, like "
        "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI"
    ),
    "JOB_REQUESTS_TABLE": "the name of a DynamoDB table",
    "JOB_FILES_BUCKET": "the name of a general purpose S3 bucket",
    "JOB_LIST_INDEX": "the name of an index by date, or empty for none",
    "JOB_LIST_CONSISTENT_READ": "true or false",
    "ALLOWED_ORIGIN": (
        "* or one origin like https://app.example.com, as browsers send it: no path, no capitals, "
        "no default port"
    ),
    "URL_EXPIRY_SECONDS": "a whole number of seconds from 1 to 43200",
    "URL_WINDOW_SECONDS": "a whole number of seconds from 1 to 3600",
    "LOG_LEVEL": "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ENDPOINT_URL": URL,
    "AWS_ENDPOINT_URL_S3": URL,
    "AWS_ENDPOINT_URL_DYNAMODB": URL,
}


def message(name: str, was: str) -> str:
    return (
        f"{name} is {was}. It must be {EXPECTED[name]}. Set it in the shell, or for a stage in "
        ".chalice/config.json (environment_variables) or resources.yaml."
    )


def test_only_three_variables_are_needed() -> None:
    settings = load_settings({name: ENVIRON[name] for name in NEEDED})
    assert settings.job_list_index == ""
    assert settings.job_list_consistent_read is True
    assert settings.allowed_origin == "*"
    assert settings.url_expiry_seconds == 3600
    assert settings.url_window_seconds == 300
    assert settings.log_level == "INFO"
    assert settings.region == ""
    assert settings.s3_endpoint == ""


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("environ", [{}, dict.fromkeys(NEEDED, "")], ids=["absent", "empty"])
def test_a_missing_variable_is_named_with_what_it_must_be_and_where_it_is_set(
    name: str, environ: dict[str, str]
) -> None:
    others = {other: ENVIRON[other] for other in NEEDED if other != name}
    with pytest.raises(ConfigError) as error:
        load_settings(environ | others)
    assert str(error.value) == message(name, "not set")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USER_POOL_ARN", "eu-central-1_Abc123"),
        ("USER_POOL_ARN", ARN + "\n"),
        ("USER_POOL_ARN", ARN.partition("/")[0] + "/"),
        ("USER_POOL_ARN", ARN.replace("cognito-idp", "cognito-identity")),
        ("USER_POOL_ARN", ARN.replace(":eu-central-1:", "::")),
        ("USER_POOL_ARN", ARN.replace(":aws:", ":azure:")),
        ("USER_POOL_ARN", ARN.replace(":123", ":12")),
        ("USER_POOL_ARN", ARN.replace(":123", ":1233")),
        ("JOB_REQUESTS_TABLE", "a table"),
        ("JOB_REQUESTS_TABLE", "ab"),
        ("JOB_REQUESTS_TABLE", "a" * 256),
        ("JOB_FILES_BUCKET", "jf"),
        ("JOB_FILES_BUCKET", "j" * 256),
        ("JOB_FILES_BUCKET", "job/files"),
        ("JOB_FILES_BUCKET", "arn:aws:s3:::job-files"),
        ("JOB_FILES_BUCKET", "jöb-files"),
        ("JOB_FILES_BUCKET", "job-files--use1-az4--x-s3"),
        ("JOB_FILES_BUCKET", "an-access-point--xa-s3"),
        ("JOB_LIST_INDEX", "by date"),
        ("ALLOWED_ORIGIN", "https://app.example.com/"),
        ("ALLOWED_ORIGIN", "https://a.example.com/b"),
        ("ALLOWED_ORIGIN", "app.example.com"),
        ("ALLOWED_ORIGIN", "https://App.example.com"),
        ("ALLOWED_ORIGIN", "https://app.example.com:443"),
        ("ALLOWED_ORIGIN", "http://app.example.com:80"),
        ("ALLOWED_ORIGIN", "https://app.example.com:0"),
        ("ALLOWED_ORIGIN", "https://app.example.com:99999"),
        ("ALLOWED_ORIGIN", "https://a.example.com,https://b.example.com"),
        ("ALLOWED_ORIGIN", "https://[1:2]"),
        ("ALLOWED_ORIGIN", "https://-a.example.com"),
        ("ALLOWED_ORIGIN", "https://a-.example.com"),
        ("URL_EXPIRY_SECONDS", "0"),
        ("URL_EXPIRY_SECONDS", "43201"),
        ("URL_EXPIRY_SECONDS", "1" * 5000),
        ("URL_EXPIRY_SECONDS", "1h"),
        ("URL_WINDOW_SECONDS", "3601"),
        ("URL_WINDOW_SECONDS", "٣"),
        ("JOB_LIST_CONSISTENT_READ", "no"),
        ("JOB_LIST_CONSISTENT_READ", "True"),
        ("LOG_LEVEL", "info"),
        ("AWS_REGION", "Frankfurt"),
        ("AWS_REGION", "1-eu"),
        ("AWS_REGION", "eu-"),
        ("AWS_DEFAULT_REGION", "-"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:65536"),
        ("AWS_ENDPOINT_URL", "http://mini_stack:4566"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/a//b"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "localhost"),
        ("AWS_ENDPOINT_URL_S3", "http://user:secret@127.0.0.1"),  # pragma: allowlist secret
    ],
)
def test_a_bad_variable_is_named_with_what_it_was(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(ENVIRON | {name: value})
    assert str(error.value) == message(name, repr(value))


def test_the_examples_in_the_messages_are_valid() -> None:
    for name, expected in EXPECTED.items():
        if example := re.search("like ([^ ,]+)", expected):
            load_settings(ENVIRON | {name: example[1]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USER_POOL_ARN", ARN.replace("arn:aws:", "arn:aws-us-gov:")),
        ("JOB_REQUESTS_TABLE", "a.1"),
        ("JOB_REQUESTS_TABLE", "_-" + "x" * 253),
        ("JOB_FILES_BUCKET", "a.1"),
        ("JOB_FILES_BUCKET", "_A-" + "x" * 252),
        ("JOB_FILES_BUCKET", "job-files-s3"),
        ("JOB_FILES_BUCKET", "job--x-s3-files"),
        ("ALLOWED_ORIGIN", "*"),
        ("ALLOWED_ORIGIN", "http://localhost:3"),
        ("ALLOWED_ORIGIN", "https://a-1.b.example.com:65535"),
        ("ALLOWED_ORIGIN", "http://example.com:443"),
        ("ALLOWED_ORIGIN", "https://example.com:80"),
        ("ALLOWED_ORIGIN", "https://[::ffff:1.2.3.4]:4430"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/a_B-1/c/"),
        ("AWS_REGION", "us-isob-east-1"),
        ("AWS_REGION", "local"),
        ("URL_EXPIRY_SECONDS", "43200"),
        ("URL_WINDOW_SECONDS", "1"),
        *[("LOG_LEVEL", level) for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")],
    ],
)
def test_a_value_that_is_just_valid_is_taken_as_it_is(name: str, value: str) -> None:
    assert value in map(str, load_settings(ENVIRON | {name: value}))


def test_the_list_may_be_read_eventually_consistent() -> None:
    for value, consistent in (("false", False), ("true", True), ("", True)):
        settings = load_settings(ENVIRON | {"JOB_LIST_CONSISTENT_READ": value})
        assert settings.job_list_consistent_read is consistent


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://a:1"}, "http://a:1"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2"}, "http://b:2"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": ""}, "http://a:1"),
        (
            {"AWS_ENDPOINT_URL": "http://a:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "",
        ),
    ],
)
def test_s3s_own_endpoint_comes_before_the_general_one_as_with_boto3(
    environ: dict[str, str], endpoint: str
) -> None:
    assert load_settings(ENVIRON | environ).s3_endpoint == endpoint


def test_the_region_is_lambdas_before_boto3s() -> None:
    both = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}
    assert load_settings(ENVIRON | both).region == "eu-west-1"
    assert load_settings(ENVIRON | both | {"AWS_REGION": ""}).region == "us-east-1"
