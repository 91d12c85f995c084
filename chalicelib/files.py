"""A job's files in S3: their keys and URLs, and how all of them are deleted."""

from collections.abc import Callable
from functools import partial
from json.encoder import encode_basestring_ascii
from typing import Any
from urllib.parse import unquote_plus

from chalicelib.aws import PARALLEL_REQUESTS, TRANSIENT_CODES
from chalicelib.errors import BUSY, ApiError

# A round lists at most this many pages of 1,000 versions before it deletes them: memory stays
# bounded, and a delete that is cut off has made progress.
PAGES_A_ROUND = 5
# S3 takes 1,000 keys a request; fewer keep each within the read time-out, and more go in parallel.
KEYS_A_REQUEST = 500


def job_prefix(user_id: str, job_id: int) -> str:
    """What the keys of all of the job's files begin with; it ends in / so that 1 is not 10."""
    return f"{user_id}/{job_id}/"


def object_key(user_id: str, job_id: int, object_uuid: str) -> str:
    """The key of an uploaded file."""
    return job_prefix(user_id, job_id) + object_uuid


def result_member(sign: Callable[[str], str], prefix: str, object_uuid: str) -> str:
    """The object's member of `results`, encoded: the URLs of its two result files."""
    key = f"{prefix}results/{object_uuid}"
    # A URL is ASCII without quotes and backslashes, so it needs no escaping.
    urls = (sign(f"{key}.json"), sign(f"{key}.min.json"))
    return '%s:{"full":"%s","min":"%s"}' % (encode_basestring_ascii(object_uuid), *urls)  # noqa: UP031  shows the whole member


def object_member(sign: Callable[[str], str], prefix: str, object_uuid: str) -> str:
    """The object's member of `object_urls`, encoded."""
    return f'{encode_basestring_ascii(object_uuid)}:"{sign(prefix + object_uuid)}"'


def delete_files(s3: Any, bucket: str, prefix: str, log: dict[str, Any]) -> None:
    """Delete all below the prefix: objects, older versions, delete markers, unfinished uploads.

    It returns only after a round that found nothing. What went is counted in `log`. Raises
    Unavailable, after which asking again goes on, and RuntimeError where S3 refuses for good.

    Source: "Deleting object versions from a versioning-enabled bucket" and "Aborting a multipart
    upload" in the Amazon S3 user guide.
    """
    from concurrent.futures import ThreadPoolExecutor

    log.update(objects_deleted=0, versions_deleted=0, uploads_aborted=0)
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        while True:
            # Uploads first, and all of them, so that none turns into an object behind the listing.
            uploads = _list_uploads(s3, bucket, prefix)
            if uploads:
                log["uploads_aborted"] += sum(pool.map(partial(_abort_upload, s3, bucket), uploads))
                continue
            versions = _list_versions(s3, bucket, prefix)
            if not versions:
                return
            batches = [
                versions[i : i + KEYS_A_REQUEST] for i in range(0, len(versions), KEYS_A_REQUEST)
            ]
            # S3 reports what it did not delete key by key, inside a 200.
            codes = set[str]().union(*pool.map(partial(_delete_versions, s3, bucket), batches))
            if codes - TRANSIENT_CODES:
                raise RuntimeError(f"S3 refused to delete some files: {sorted(codes)}")
            if codes:
                raise ApiError(503, BUSY)
            objects = sum("Size" in version and version["IsLatest"] for version in versions)
            log["objects_deleted"] += objects
            log["versions_deleted"] += len(versions) - objects


def _list_uploads(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """The first page of unfinished uploads below the prefix."""
    # XML has no way to say some characters that a key may have; botocore cares only elsewhere.
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix, EncodingType="url")
    uploads: list[dict[str, Any]] = page.get("Uploads", [])
    if page.get("EncodingType") == "url":
        uploads = [{**upload, "Key": unquote_plus(upload["Key"])} for upload in uploads]
    return uploads


def _abort_upload(s3: Any, bucket: str, upload: dict[str, Any]) -> bool:
    """Whether there was still something to abort."""
    from botocore.exceptions import ClientError

    try:
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        # Completed or aborted by somebody meanwhile; what it left is listed next.
        if error.response["Error"]["Code"] != "NoSuchUpload":
            raise
        return False
    return True


def _list_versions(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """Versions and delete markers below the prefix: all, or the first PAGES_A_ROUND pages."""
    found: list[dict[str, Any]] = []
    markers: dict[str, str] = {}
    for _ in range(PAGES_A_ROUND):
        page = s3.list_object_versions(Bucket=bucket, Prefix=prefix, **markers)
        found += page.get("Versions", []) + page.get("DeleteMarkers", [])
        if not page["IsTruncated"]:
            break
        markers = {
            "KeyMarker": page["NextKeyMarker"],
            "VersionIdMarker": page["NextVersionIdMarker"],
        }
    return found


def _delete_versions(s3: Any, bucket: str, versions: list[dict[str, Any]]) -> set[str]:
    """Delete the versions; the codes of the errors that S3 reports."""
    keys = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    return {error["Code"] for error in answer.get("Errors", [])}
