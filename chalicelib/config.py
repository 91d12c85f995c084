"""The environment, read once into frozen, checked Settings."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.errors import ConfigError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Settings(NamedTuple):
    """What the environment says. Where s3_endpoint and region are None, AWS's own hold."""

    user_pool_arn: str
    job_requests_table: str
    job_files_bucket: str
    job_list_index: str | None
    allowed_origin: str
    url_expiry_seconds: int
    url_window_seconds: int
    region: str | None
    s3_endpoint: str | None
    log_level: str


def load_settings(environ: Mapping[str, str], *, placeholders: bool = False) -> Settings:
    """Read and check every variable that the API knows. Raises ConfigError.

    placeholders: take also the values of stage prod that still have to be filled in.
    """

    def read(name: str, pattern: str, must_be: str) -> str | None:
        value = environ.get(name) or None
        if value and not re.fullmatch(pattern, value, re.ASCII):
            raise _bad(name, f"is {value!r}", must_be)
        if value and "fill-in" in value and not placeholders:
            raise _bad(name, f"is still {value!r}", must_be)
        return value

    def need(name: str, pattern: str, must_be: str) -> str:
        value = read(name, pattern, must_be)
        if value is None:
            raise _bad(name, "is not set", must_be)
        return value

    def seconds(name: str, default: int, most: int) -> int:
        must_be = f"a whole number of seconds from 1 to {most}"
        value = int(read(name, r"[0-9]{1,9}", must_be) or default)
        if not 1 <= value <= most:
            raise _bad(name, f"is {value}", must_be)
        return value

    def endpoint(name: str) -> str | None:
        if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        return read(name, r"https?://[\w.:\[\]-]+(/[\w./-]*)?", "a URL like http://127.0.0.1:4566")

    return Settings(
        user_pool_arn=need(
            "USER_POOL_ARN",
            r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+",
            "the ARN of a Cognito user pool, like "
            "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbCdEfGhI",
        ),
        job_requests_table=need(
            "JOB_REQUESTS_TABLE", r"[\w.-]{3,255}", "the name of a DynamoDB table"
        ),
        job_files_bucket=need(
            "JOB_FILES_BUCKET",
            # A directory bucket, whose name ends in --x-s3, is signed for otherwise.
            r"(?!.*--[a-z0-9]+-s3$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "the name of a general purpose S3 bucket",
        ),
        job_list_index=read(
            "JOB_LIST_INDEX", r"[\w.-]{3,255}", "the name of an index by date, or empty for none"
        ),
        allowed_origin=read(
            "ALLOWED_ORIGIN",
            r"\*|https?://[\w.:\[\]-]+",
            "* or one origin like https://app.example.com, without a path",
        )
        or "*",
        url_expiry_seconds=seconds("URL_EXPIRY_SECONDS", default=3600, most=43200),
        url_window_seconds=seconds("URL_WINDOW_SECONDS", default=300, most=3600),
        # Lambda sets both; boto3 by itself reads only the second.
        region=read("AWS_REGION", r"[a-z0-9-]+", "an AWS region")
        or read("AWS_DEFAULT_REGION", r"[a-z0-9-]+", "an AWS region"),
        s3_endpoint=endpoint("AWS_ENDPOINT_URL_S3") or endpoint("AWS_ENDPOINT_URL"),
        log_level=read("LOG_LEVEL", "|".join(LOG_LEVELS), f"one of {', '.join(LOG_LEVELS)}")
        or "INFO",
    )


def _bad(name: str, what_it_is: str, must_be: str) -> ConfigError:
    return ConfigError(
        f"{name} {what_it_is}. It must be {must_be}. Set it in the shell, or for a stage in "
        ".chalice/config.json (environment_variables) or resources.json (APIHandler)."
    )
