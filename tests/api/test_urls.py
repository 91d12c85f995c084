"""chalicelib/urls.py: equal to boto3, byte for byte."""

import calendar
import time
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import urls
from chalicelib.config import Settings, load_settings
from tests.support.events import ALICE, ENVIRON

KEY = f"{ALICE}/7/results/0d9f2c1e.png.json"
TOKEN = "IQoJb3JpZ2luX2VjE" + "Ab+/9" * 300 + "=="
YOUNG = ["ap-southeast-7", "mx-central-1", "xx-unheard-1"]
SESSION = boto3.Session("AKIDEXAMPLE", "secret")
REGIONS = sorted(
    {
        region
        for partition in SESSION.get_available_partitions()
        for region in SESSION.get_available_regions("s3", partition)
    }
    | {*YOUNG, "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1"}
)


@lru_cache(maxsize=1)
def client_of(region: str, endpoint: str) -> Any:
    """The reference: boto3, as the README's promise names it."""
    style = {} if endpoint else {"addressing_style": "virtual"}
    s3 = {**style, "us_east_1_regional_endpoint": "regional"}
    config = Config(signature_version="s3v4", s3=s3)
    return SESSION.client("s3", region, endpoint_url=endpoint or None, config=config)


def assert_equals_boto3s(
    settings: Settings,
    region: str = "eu-central-1",
    key: str = KEY,
    download_as: str | None = None,
    token: str | None = None,
) -> None:
    """Compare our URL, for the instant at which boto3 signs, with boto3's."""
    params = {"Bucket": settings.job_files_bucket, "Key": key}
    if download_as is not None:
        params["ResponseContentDisposition"] = urls.attachment(download_as)
    expires = settings.url_expiry_seconds + settings.url_window_seconds
    client = client_of(region, settings.s3_endpoint)
    SESSION.get_credentials().token = token
    theirs = client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires)
    [date] = parse_qs(urlsplit(theirs).query)["X-Amz-Date"]
    signed_at = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    sign = urls.signer(settings, region, ("AKIDEXAMPLE", "secret", token), signed_at)
    assert sign(key, download_as) == theirs


@pytest.mark.parametrize("region", REGIONS)
def test_a_url_equals_boto3s_in_every_region(region: str, settings: Settings) -> None:
    for token in (None, TOKEN):
        for bucket in ("job-files", "files.example.com"):
            here = settings._replace(job_files_bucket=bucket)
            for download_as in (None, "Grüße 東京.png"):
                assert_equals_boto3s(here, region, download_as=download_as, token=token)


# Some of these can only be names of buckets from before March 2018.
BUCKETS = ["ABCD_Central_1", "my_old_bucket", "Old", "abc", "1-2", "-old-", "a..b", "192.168.1.1"]
BUCKETS += ["a" * 63, "a" * 64, "A.b_" * 63 + "xyz"]


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_url_equals_boto3s_for_a_bucket_of_any_name(bucket: str, region: str) -> None:
    assert_equals_boto3s(load_settings(ENVIRON | {"JOB_FILES_BUCKET": bucket}), region)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:4566",
        "http://localhost:80",
        "https://localhost:443",
        "https://s3.example.com",
        "https://s3.example.com:8443/",
        "https://example.com/storage/s3",
        "https://example.com/storage/s3/",
        "https://example.com/X",
        "http://[::1]:9000",
        "https://S3.Example.com",
    ],
)
@pytest.mark.parametrize("bucket", ["job-files", "files.example.com", "my_Old_bucket"])
def test_a_url_equals_boto3s_at_a_custom_endpoint(
    endpoint: str, bucket: str, settings: Settings
) -> None:
    assert_equals_boto3s(settings._replace(job_files_bucket=bucket, s3_endpoint=endpoint))


# What S3 takes as a key: no lone surrogate, and no NUL, of which botocore makes something else.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
FILE_NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"),
    min_size=1,
    max_size=60,
)


@hypothesis_settings(max_examples=300, deadline=None)
@example(name="a+b", download_as=None)  # Nothing else in the key needs to be quoted.
@given(name=KEYS, download_as=st.none() | FILE_NAMES)
def test_a_url_equals_boto3s_for_odd_names(name: str, download_as: str | None) -> None:
    key = f"{ALICE}/7/{name}"
    assert_equals_boto3s(load_settings(ENVIRON), key=key, download_as=download_as)


@pytest.mark.parametrize(
    ("file_name", "fallback"),
    [
        ("file.png", "file.png"),
        ("Grüße aus Köln.png", "Gr__e aus K_ln.png"),
        ("東京.png", "__.png"),
        ('a"b.png', "a_b.png"),
        ("100%.png", "100_.png"),
        ("a;b=c.png", "a;b=c.png"),
        ("a/b.png", "a/b.png"),
        ("a\\b\r\n.png", "a_b__.png"),
    ],
)
def test_a_file_name_survives_its_content_disposition(file_name: str, fallback: str) -> None:
    value = urls.attachment(file_name)
    quoted, _, encoded = value.partition("; filename*=UTF-8''")
    assert quoted == f'attachment; filename="{fallback}"'
    assert unquote(encoded) == file_name
    assert encoded.isascii()
    # RFC 8187, section 3.2.1: a / is not an attr-char.
    assert "/" not in encoded
