"""chalicelib/files.py, and deletion.py on moto: everything of a job goes, and nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote_plus

import pytest

from chalicelib import deletion, files
from dev.emulated_aws import BUCKET
from tests.support.events import ALICE, BOB, Context
from tests.support.moto_aws import Aws

PREFIX = f"{ALICE}/1/"


class FakeS3:
    """A client that passes each operation's name and request to a function."""

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def __getattr__(self, operation: str) -> Any:
        return partial(self._send, operation)


def delete(s3: Any, bucket: str = BUCKET) -> dict[str, Any]:
    log: dict[str, Any] = {}
    deletion.delete_files(s3, bucket, PREFIX, log, Context(10).seconds_left)
    return log


def test_keys_are_composed_of_the_user_the_job_and_the_object() -> None:
    assert files.job_prefix("u", 1) == "u/1/"
    assert files.result_member(lambda key: f"u:{key}", "u/1/", "x.png") == (
        '"x.png":{"full":"u:u/1/results/x.png.json","min":"u:u/1/results/x.png.min.json"}'
    )


def test_objects_older_versions_and_delete_markers_go(s3: Any, emulated: Aws) -> None:
    emulated.put_objects(f"{PREFIX}a.png", f"{PREFIX}a.png", f"{PREFIX}results/a.png.json")
    emulated.put_objects(f"{PREFIX}b.png")
    emulated.s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}b.png")
    assert len(emulated.versions()) == 5
    log = delete(s3)
    assert emulated.versions() == []
    assert log == {"objects_deleted": 2, "versions_deleted": 3, "uploads_aborted": 0}


def test_an_error_without_a_version_id_is_that_of_an_object_without_versions(
    s3: Any, emulated: Aws
) -> None:
    location = {"LocationConstraint": "eu-central-1"}
    emulated.s3.create_bucket(Bucket="unversioned", CreateBucketConfiguration=location)
    emulated.s3.put_object(Bucket="unversioned", Key=f"{PREFIX}a.png")
    errors = iter([{"Errors": [{"Key": f"{PREFIX}a.png", "Code": "InternalError"}]}])

    def failing_once(operation: str, **request: Any) -> Any:
        send = getattr(s3, operation)
        return (operation == "delete_objects" and next(errors, None)) or send(**request)

    assert delete(FakeS3(failing_once), "unversioned")["objects_deleted"] == 1
    assert "Contents" not in emulated.s3.list_objects_v2(Bucket="unversioned")


def test_unfinished_uploads_are_aborted(s3: Any, emulated: Aws) -> None:
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}big.mov")
    emulated.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/10/big.mov")
    assert delete(s3)["uploads_aborted"] == 1
    assert emulated.uploads() == [f"{ALICE}/10/big.mov"]


@pytest.mark.parametrize(
    ("key", "encodes"), [("a b+c%41é.mov", False), ("a b+c%41é.mov", True), ("a\x01b.mov", True)]
)
def test_an_upload_of_any_key_is_aborted_however_it_is_listed(
    key: str, encodes: bool, s3: Any, emulated: Aws
) -> None:
    """S3 encodes keys on request; moto does not."""
    aborted: list[str] = []

    def listing(operation: str, **request: Any) -> Any:
        if operation == "list_multipart_uploads":
            assert request["EncodingType"] == "url"
            left = [] if aborted else [{"Key": PREFIX + key, "UploadId": "id"}]
            if encodes:
                left = [{**upload, "Key": quote_plus(upload["Key"])} for upload in left]
                return {"Uploads": left, "EncodingType": "url", "IsTruncated": False}
            return {"Uploads": left, "IsTruncated": False}
        if operation == "abort_multipart_upload":
            aborted.append(request["Key"])
            return {}
        return getattr(s3, operation)(**request)

    delete(FakeS3(listing))
    assert aborted == [PREFIX + key]


@pytest.mark.parametrize("other", [f"{ALICE}/10/a.png", f"{BOB}/1/a.png", f"{ALICE}/1", "x/1/a"])
def test_what_is_not_below_the_prefix_stays(other: str, s3: Any, emulated: Aws) -> None:
    emulated.put_objects(f"{PREFIX}a.png", other)
    delete(s3)
    assert emulated.versions() == [other]
