"""The environment, read once into frozen, checked Settings."""

import re
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from chalicelib.errors import ConfigError

_NAME = r"[\w.-]{3,255}"
# As before March 2018, when a name could have capitals, underscores and 255 characters. Requests to
# a directory bucket, whose name ends in --x-s3, are signed differently.
_BUCKET = r"(?!.*--[a-z0-9]+-s3$)[A-Za-z0-9._-]{3,255}"
_REGION = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_ORIGIN = rf"https?://({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:[1-9]\d{{0,4}})?"


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
    """Read and check the environment variables of the API. Raises ConfigError."""
    read_text, read_url = partial(text, environ), partial(url, environ)
    arn = r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+"
    arn_example = "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI"
    region, default_region = (
        read_text(name, _REGION, "an AWS region, like eu-central-1", default="")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION")
    )
    # boto3 reads the endpoint of DynamoDB by itself; it is only checked here.
    endpoint, s3_endpoint, _ = (
        read_url(name, rf"{_ORIGIN}(/[\w-]+)*/?", "a URL like http://127.0.0.1:4566", default="")
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB")
    )
    endpoints_are_ignored = environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    index = "the name of an index by date, or empty for none"
    origin = "* or one origin like https://app.example.com, as browsers send it: no path, no "
    origin += "capitals, no default port"
    levels = "DEBUG, INFO, WARNING, ERROR or CRITICAL"
    consistent = read_text("JOB_LIST_CONSISTENT_READ", "true|false", "true or false", "true")
    return Settings(
        user_pool_arn=read_text(
            "USER_POOL_ARN", arn, f"the ARN of a Cognito user pool, like {arn_example}"
        ),
        job_requests_table=read_text("JOB_REQUESTS_TABLE", _NAME, "the name of a DynamoDB table"),
        job_files_bucket=read_text(
            "JOB_FILES_BUCKET", _BUCKET, "the name of a general purpose S3 bucket"
        ),
        job_list_index=read_text("JOB_LIST_INDEX", _NAME, index, default=""),
        job_list_consistent_read=consistent == "true",
        allowed_origin=read_url(
            "ALLOWED_ORIGIN", rf"\*|(?!http:.*:80$|https:.*:443$){_ORIGIN}", origin, default="*"
        ),
        url_expiry_seconds=seconds(environ, "URL_EXPIRY_SECONDS", default=3600, maximum=43200),
        url_window_seconds=seconds(environ, "URL_WINDOW_SECONDS", default=300, maximum=3600),
        log_level=read_text("LOG_LEVEL", re.sub(", | or ", "|", levels), levels, default="INFO"),
        # Lambda sets both; boto3 by itself reads only AWS_DEFAULT_REGION.
        region=region or default_region,
        s3_endpoint="" if endpoints_are_ignored else s3_endpoint or endpoint,
    )


def text(
    environ: Mapping[str, str], name: str, pattern: str, expected: str, default: str | None = None
) -> str:
    """The variable's value, or its default if it is not set or empty. Raises ConfigError."""
    value = environ.get(name) or default
    if value is None or (value != default and not re.fullmatch(pattern, value, re.ASCII)):
        raise _error(environ, name, expected)
    return value


def seconds(environ: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    """A whole number of seconds from 1 to maximum. Raises ConfigError."""
    expected = f"a whole number of seconds from 1 to {maximum}"
    value = int(text(environ, name, r"\d{1,9}", expected, default=str(default)))
    if not 1 <= value <= maximum:
        raise _error(environ, name, expected)
    return value


def url(environ: Mapping[str, str], name: str, pattern: str, expected: str, default: str) -> str:
    """Like text(), and checks the port as well. Raises ConfigError."""
    value = text(environ, name, pattern, expected, default)
    try:
        # ValueError: a malformed IPv6 address, or a port above 65535.
        _ = urlsplit(value).port
    except ValueError:
        raise _error(environ, name, expected) from None
    return value


def _error(environ: Mapping[str, str], name: str, expected: str) -> ConfigError:
    value = environ.get(name)
    return ConfigError(
        f"{name} is {repr(value) if value else 'not set'}. It must be {expected}. Set it in the "
        "shell, or for a stage in .chalice/config.json (environment_variables) or resources.yaml."
    )
