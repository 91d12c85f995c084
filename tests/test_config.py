"""chalicelib/config.py: the environment, checked."""

import pytest

from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from tests.conftest import ENVIRON

NEEDED = ("USER_POOL_ARN", "JOB_REQUESTS_TABLE", "JOB_FILES_BUCKET")


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
    assert str(error.value).startswith(f"{name} is not set. It must be the ")
    assert ".chalice/config.json" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("USER_POOL_ARN", "eu-central-1_Abc123", "the ARN of a Cognito user pool"),
        ("USER_POOL_ARN", ENVIRON["USER_POOL_ARN"] + "\n", "the ARN of a Cognito user pool"),
        ("JOB_REQUESTS_TABLE", "a table", "the name of a DynamoDB table"),
        ("JOB_FILES_BUCKET", "job..files", "the name of a general purpose S3 bucket"),
        ("JOB_FILES_BUCKET", "Job_Files", "the name of a general purpose S3 bucket"),
        ("JOB_FILES_BUCKET", "job-files--use1-az4--x-s3", "a general purpose S3 bucket"),
        ("JOB_FILES_BUCKET", "arn:aws:s3:::job-files", "a general purpose S3 bucket"),
        ("JOB_LIST_INDEX", "by date", "the name of an index"),
        ("ALLOWED_ORIGIN", "https://app.example.com/", "no path"),
        ("ALLOWED_ORIGIN", "app.example.com", "one origin"),
        ("ALLOWED_ORIGIN", "https://App.example.com", "no capitals"),
        ("ALLOWED_ORIGIN", "https://app.example.com:443", "as browsers send it"),
        ("ALLOWED_ORIGIN", "https://app.example.com:99999", "one origin"),
        ("ALLOWED_ORIGIN", "https://a.example.com,https://b.example.com", "one origin"),
        ("URL_EXPIRY_SECONDS", "0", "from 1 to 43200"),
        ("URL_EXPIRY_SECONDS", "43201", "from 1 to 43200"),
        ("URL_EXPIRY_SECONDS", "1" * 5000, "from 1 to 43200"),
        ("URL_EXPIRY_SECONDS", "1h", "from 1 to 43200"),
        ("URL_EXPIRY_SECONDS", "-1", "from 1 to 43200"),
        ("URL_WINDOW_SECONDS", "3601", "from 1 to 3600"),
        ("URL_WINDOW_SECONDS", "٣", "from 1 to 3600"),
        ("JOB_LIST_CONSISTENT_READ", "no", "true or false"),
        ("JOB_LIST_CONSISTENT_READ", "True", "true or false"),
        ("LOG_LEVEL", "info", "DEBUG, INFO, WARNING"),
        ("AWS_REGION", "Frankfurt", "an AWS region"),
        ("AWS_REGION", "-", "an AWS region"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566", "a URL like"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:65536", "a URL like"),
        ("AWS_ENDPOINT_URL", "http://mini_stack:4566", "a URL like"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/a//b", "a URL like"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "localhost", "a URL like"),
        ("AWS_ENDPOINT_URL_S3", "http://user:secret@127.0.0.1", "a URL like"),
    ],
)
def test_a_bad_variable_is_named_with_what_it_was(name: str, value: str, must_be: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(ENVIRON | {name: value})
    assert name in str(error.value)
    assert must_be in str(error.value)
    assert repr(value) in str(error.value)


def test_the_list_may_be_read_eventually_consistent() -> None:
    for value, consistent in (("false", False), ("true", True), ("", True)):
        settings = load_settings(ENVIRON | {"JOB_LIST_CONSISTENT_READ": value})
        assert settings.job_list_consistent_read is consistent


def test_the_bounds_themselves_are_valid() -> None:
    seconds = {"URL_EXPIRY_SECONDS": "43200", "URL_WINDOW_SECONDS": "1"}
    settings = load_settings(ENVIRON | seconds)
    assert (settings.url_expiry_seconds, settings.url_window_seconds) == (43200, 1)


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
