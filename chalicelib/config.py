"""The environment, read once into frozen, checked Settings."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from chalicelib.errors import ConfigError

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_HOST = rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])"


class Settings(NamedTuple):
    """The configuration; a variable that is not set and has no default is an empty string."""

    user_pool_arn: str
    job_requests_table: str
    job_files_bucket: str
    job_list_index: str
    job_list_consistent_read: bool
    allowed_origin: str
    url_expiry_seconds: int
    url_window_seconds: int
    log_level: str
    region: str
    s3_endpoint: str


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check every variable that the API knows. Raises ConfigError."""
    endpoint = url(environ, "AWS_ENDPOINT_URL")
    url(environ, "AWS_ENDPOINT_URL_DYNAMODB")
    s3_endpoint = url(environ, "AWS_ENDPOINT_URL_S3") or endpoint
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        s3_endpoint = ""
    region = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
    default_region = text(environ, "AWS_DEFAULT_REGION", region, "an AWS region, like eu-central-1")
    return Settings(
        user_pool_arn=text(
            environ,
            "USER_POOL_ARN",
            r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+",
            "the ARN of a Cognito user pool, like "
            "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI",
            required=True,
        ),
        job_requests_table=text(
            environ,
            "JOB_REQUESTS_TABLE",
            r"[\w.-]{3,255}",
            "the name of a DynamoDB table",
            required=True,
        ),
        job_files_bucket=text(
            environ,
            "JOB_FILES_BUCKET",
            # Requests to a directory bucket, whose name ends in --x-s3, are signed differently.
            r"(?!.*(\.\.|--[a-z0-9]+-s3$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "the name of a general purpose S3 bucket",
            required=True,
        ),
        job_list_index=text(
            environ,
            "JOB_LIST_INDEX",
            r"[\w.-]{3,255}",
            "the name of an index by date, or empty for none",
        ),
        job_list_consistent_read=flag(environ, "JOB_LIST_CONSISTENT_READ", default=True),
        allowed_origin=origin(environ, "ALLOWED_ORIGIN", default="*"),
        url_expiry_seconds=seconds(environ, "URL_EXPIRY_SECONDS", default=3600, maximum=43200),
        url_window_seconds=seconds(environ, "URL_WINDOW_SECONDS", default=300, maximum=3600),
        log_level=text(
            environ,
            "LOG_LEVEL",
            "DEBUG|INFO|WARNING|ERROR|CRITICAL",
            "DEBUG, INFO, WARNING, ERROR or CRITICAL",
            default="INFO",
        ),
        # Lambda sets both regions; boto3 by itself reads only the second.
        region=text(environ, "AWS_REGION", region, "an AWS region, like eu-central-1")
        or default_region,
        s3_endpoint=s3_endpoint,
    )


def text(
    environ: Mapping[str, str],
    name: str,
    pattern: str,
    expected: str,
    default: str = "",
    *,
    required: bool = False,
) -> str:
    """The variable's value, or its default if it is not set or empty. Raises ConfigError."""
    value = environ.get(name) or default
    if (value or required) and not re.fullmatch(pattern, value, re.ASCII):
        raise _error(environ, name, expected)
    return value


def seconds(environ: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    """A whole number of seconds from 1 to maximum. Raises ConfigError."""
    expected = f"a whole number of seconds from 1 to {maximum}"
    value = int(text(environ, name, r"\d{1,9}", expected, default=str(default)))
    if not 1 <= value <= maximum:
        raise _error(environ, name, expected)
    return value


def flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    """Whether the variable is `true`. Raises ConfigError."""
    return text(environ, name, "true|false", "true or false", str(default).lower()) == "true"


def url(environ: Mapping[str, str], name: str) -> str:
    """The URL of an endpoint, or an empty string. Raises ConfigError."""
    expected = "a URL like http://127.0.0.1:4566"
    value = text(environ, name, rf"https?://{_HOST}(:\d{{1,5}})?(/[\w-]+)*/?", expected)
    if value and not _port_is_valid(value):
        raise _error(environ, name, expected)
    return value


def origin(environ: Mapping[str, str], name: str, default: str) -> str:
    """`*`, or an origin as browsers send it. Raises ConfigError."""
    expected = (
        "* or one origin like https://app.example.com, as browsers send it: no path, no capitals, "
        "no default port"
    )
    value = text(environ, name, rf"\*|https?://{_HOST}(:\d{{1,5}})?", expected, default=default)
    default_port = value.startswith("http:") and value.endswith(":80")
    default_port |= value.startswith("https:") and value.endswith(":443")
    if default_port or not _port_is_valid(value):
        raise _error(environ, name, expected)
    return value


def _port_is_valid(value: str) -> bool:
    try:
        # A port above 65535 is a ValueError.
        return urlsplit(value).port != 0
    except ValueError:
        return False


def _error(environ: Mapping[str, str], name: str, expected: str) -> ConfigError:
    value = environ.get(name)
    return ConfigError(
        f"{name} is {repr(value) if value else 'not set'}. It must be {expected}. Set it in the "
        "shell, or for a stage in .chalice/config.json (environment_variables) or resources.yaml."
    )
