"""The environment, read once into frozen, checked Settings."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.errors import ConfigError

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_HOST = rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])"
_PORT = r"[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]"
_URL = (
    rf"https?://{_HOST}(:({_PORT}))?(/[\w-]+)*/?",
    "a URL like http://127.0.0.1:4566",
    "",
)
_REGION = (r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "an AWS region, like eu-central-1", "")
# Each variable's pattern; in words what it must be; its default, None where it is needed.
VARIABLES: dict[str, tuple[str, str, str | None]] = {
    "USER_POOL_ARN": (
        r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+",
        "the ARN of a Cognito user pool, like "
        "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI",
        None,
    ),
    "JOB_REQUESTS_TABLE": (r"[\w.-]{3,255}", "the name of a DynamoDB table", None),
    "JOB_FILES_BUCKET": (
        # A directory bucket, whose name ends in --x-s3, is signed for otherwise.
        r"(?!.*(\.\.|--[a-z0-9]+-s3$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a general purpose S3 bucket",
        None,
    ),
    "JOB_LIST_INDEX": (r"[\w.-]{3,255}", "the name of an index by date, or empty for none", ""),
    "ALLOWED_ORIGIN": (
        # As browsers say it: in lower case, without the scheme's own port.
        rf"\*|(?!http:.*:80$|https:.*:443$)https?://{_HOST}(:({_PORT}))?",
        "* or one origin like https://app.example.com, as browsers say it: no path, no capitals",
        "*",
    ),
    "URL_EXPIRY_SECONDS": (r"\d{1,9}", "a whole number of seconds from 1 to 43200", "3600"),
    "URL_WINDOW_SECONDS": (r"\d{1,9}", "a whole number of seconds from 1 to 3600", "300"),
    "LOG_LEVEL": (
        "DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "INFO",
    ),
    "AWS_REGION": _REGION,
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_ENDPOINT_URL": _URL,
    "AWS_ENDPOINT_URL_DYNAMODB": _URL,
    "AWS_ENDPOINT_URL_S3": _URL,
}
MOST_SECONDS = {"URL_EXPIRY_SECONDS": 43200, "URL_WINDOW_SECONDS": 3600}
# What stage prod and its policy hold until somebody has filled them in.
PLACEHOLDER = "FILL IN"


class Settings(NamedTuple):
    """What the environment says; an empty string where it says nothing."""

    user_pool_arn: str
    job_requests_table: str
    job_files_bucket: str
    job_list_index: str
    allowed_origin: str
    url_expiry_seconds: int
    url_window_seconds: int
    log_level: str
    region: str
    s3_endpoint: str


def load_settings(environ: Mapping[str, str], *, placeholders: bool = False) -> Settings:
    """Read and check every variable that the API knows. Raises ConfigError.

    placeholders: take also those of stage prod, which `chalice package` replaces.
    """
    values: dict[str, Any] = {}
    for name, (pattern, must_be, default) in VARIABLES.items():
        value = values[name] = environ.get(name) or default
        if value is None:
            raise _error(name, "not set", must_be)
        if placeholders and value.startswith(PLACEHOLDER):
            continue
        if not re.fullmatch(f"({pattern})?", value, re.ASCII):
            raise _error(name, repr(value), must_be)
        if name in MOST_SECONDS:
            values[name] = int(value)
            if not 1 <= values[name] <= MOST_SECONDS[name]:
                raise _error(name, repr(value), must_be)

    own = {name.lower(): value for name, value in values.items() if not name.startswith("AWS_")}
    endpoint = values["AWS_ENDPOINT_URL_S3"] or values["AWS_ENDPOINT_URL"]
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        endpoint = ""
    # Lambda sets both regions; boto3 by itself reads only the second.
    region = values["AWS_REGION"] or values["AWS_DEFAULT_REGION"]
    return Settings(**own, region=region, s3_endpoint=endpoint)


def check_policy(path: str) -> None:
    """Refuse a policy of `chalice deploy` that has placeholders left. Raises ConfigError."""
    from pathlib import Path

    if PLACEHOLDER in Path(path).read_text():
        raise ConfigError(f"{path} still says {PLACEHOLDER}. Put the ARNs in, as it says there.")


def _error(name: str, what_it_is: str, must_be: str) -> ConfigError:
    return ConfigError(
        f"{name} is {what_it_is}. It must be {must_be}. Set it in the shell, or for a stage in "
        ".chalice/config.json (environment_variables) or resources.yaml."
    )
