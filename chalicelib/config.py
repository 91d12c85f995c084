"""The environment, read once into frozen, checked Settings."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.errors import ConfigError

LOG_LEVELS = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
# Each variable's pattern, and in words what it must be.
VARIABLES = {
    "USER_POOL_ARN": (
        r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+",
        "the ARN of a Cognito user pool, like "
        "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI",
    ),
    "JOB_REQUESTS_TABLE": (r"[\w.-]{3,255}", "the name of a DynamoDB table"),
    "JOB_FILES_BUCKET": (
        # A directory bucket, whose name ends in --x-s3, is signed for otherwise.
        r"(?!.*--[a-z0-9]+-s3$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a general purpose S3 bucket",
    ),
    "JOB_LIST_INDEX": (r"[\w.-]{3,255}", "the name of an index by date, or empty for none"),
    "ALLOWED_ORIGIN": (
        r"\*|https?://[\w.:\[\]-]+",
        "* or one origin like https://app.example.com, without a path",
    ),
    "URL_EXPIRY_SECONDS": (r"\d{1,9}", "a whole number of seconds from 1 to 43200"),
    "URL_WINDOW_SECONDS": (r"\d{1,9}", "a whole number of seconds from 1 to 3600"),
    "LOG_LEVEL": (LOG_LEVELS, f"one of {LOG_LEVELS}"),
    "AWS_REGION": (r"[a-z0-9-]+", "an AWS region"),
    "AWS_DEFAULT_REGION": (r"[a-z0-9-]+", "an AWS region"),
    "AWS_ENDPOINT_URL_S3": (r"https?://[\w.:\[\]-]+(/[\w./-]*)?", "a URL like http://[::1]:4566"),
    "AWS_ENDPOINT_URL": (r"https?://[\w.:\[\]-]+(/[\w./-]*)?", "a URL like http://[::1]:4566"),
}


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

    placeholders: take also the values of stage prod that still have to be filled in.
    """

    def bad(name: str, what_it_is: str) -> ConfigError:
        return ConfigError(
            f"{name} is {what_it_is}. It must be {VARIABLES[name][1]}. Set it in the shell, or "
            "for a stage in .chalice/config.json (environment_variables) or resources.json."
        )

    def read(name: str, default: str | None = None) -> str:
        value = environ.get(name) or default
        if value is None:
            raise bad(name, "not set")
        if value and not re.fullmatch(VARIABLES[name][0], value, re.ASCII):
            raise bad(name, repr(value))
        if "fill-in" in value and not placeholders:
            raise bad(name, f"still {value!r}")
        return value

    def seconds(name: str, default: int, most: int) -> int:
        value = int(read(name, str(default)))
        if not 1 <= value <= most:
            raise bad(name, str(value))
        return value

    ignored = environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    endpoint = read("AWS_ENDPOINT_URL_S3", "") or read("AWS_ENDPOINT_URL", "")
    return Settings(
        user_pool_arn=read("USER_POOL_ARN"),
        job_requests_table=read("JOB_REQUESTS_TABLE"),
        job_files_bucket=read("JOB_FILES_BUCKET"),
        job_list_index=read("JOB_LIST_INDEX", ""),
        allowed_origin=read("ALLOWED_ORIGIN", "*"),
        url_expiry_seconds=seconds("URL_EXPIRY_SECONDS", 3600, most=43200),
        url_window_seconds=seconds("URL_WINDOW_SECONDS", 300, most=3600),
        log_level=read("LOG_LEVEL", "INFO"),
        # Lambda sets both; boto3 by itself reads only the second.
        region=read("AWS_REGION", "") or read("AWS_DEFAULT_REGION", ""),
        s3_endpoint="" if ignored else endpoint,
    )
