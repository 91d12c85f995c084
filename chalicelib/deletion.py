"""How all files of a job are deleted from S3: in rounds, several requests at a time."""

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice
from threading import Lock
from typing import Any
from urllib.parse import unquote_plus

from chalicelib import aws

# S3 takes 1,000 keys a request; with fewer, a request is faster and more of them run in parallel.
KEYS_A_REQUEST = 500
# A page has 1,000 versions. moto, on which users of this stack test, cannot list while it deletes;
# to list all pages first would take too long. A slow listing ends with this share of the time.
PAGES_LISTED_FIRST, TIME_TO_LIST_FIRST = 10, 0.25
# What is not a Char of XML 1.0 (section 2.2), and makes a DeleteObjects request MalformedXML.
# A negated set of the valid characters takes 9 ms to compile, in every cold start.
_NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A version, delete marker or upload, as S3 lists it.
Listed = dict[str, Any]


def delete_files(
    s3: Any, bucket: str, prefix: str, log: dict[str, Any], seconds_left: aws.SecondsLeft
) -> None:
    """Delete all below the prefix: objects, older versions, delete markers, unfinished uploads.

    Returns only after a listing of the uploads, and then one of the versions, have found nothing.
    What was deleted is counted in `log`. Raises ApiError (503) when the time is over, and
    RuntimeError if S3 refuses to delete something, after everything else is deleted.

    Source: "Deleting object versions from a versioning-enabled bucket" and "Aborting a multipart
    upload" in the Amazon S3 user guide.
    """
    from concurrent.futures import ThreadPoolExecutor

    log.update(objects_deleted=0, versions_deleted=0, uploads_aborted=0)
    with ThreadPoolExecutor(aws.PARALLEL_REQUESTS) as pool:
        try:
            Deletion(s3, bucket, prefix, log, seconds_left).run(pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@dataclass
class Deletion:
    """Deletes in rounds: each lists the first pages, and the others while it deletes."""

    s3: Any
    bucket: str
    prefix: str
    log: dict[str, Any]
    seconds_left: aws.SecondsLeft
    # The wait before each request: doubled after a transient error, else halved.
    pause_seconds: float = 0.0
    # The codes of errors that are not transient, each with the key.
    refused: list[tuple[str, str]] = field(default_factory=list)
    log_lock: Lock = field(default_factory=Lock)

    def run(self, pool: Any) -> None:
        """Delete until a round has found nothing."""
        # The first round lists uploads and versions concurrently. Each later round lists uploads
        # first, so that no upload completes after the listing of the versions and is missed.
        uploads = pool.submit(self.list_uploads)
        for round_number in count(1):
            versions_found, deletions = self.start_deletions(pool)
            if round_number > 1 and not versions_found and not uploads.result():
                return
            list(pool.map(self.abort, uploads.result()))
            uploads = pool.submit(self.list_uploads)
            for pending in (*deletions, uploads):
                pending.result()
            if self.refused:
                codes = dict(Counter(code for code, _ in self.refused))
                raise RuntimeError(f"S3 refused to delete: {codes}, one is {self.refused[0][1]!r}")
            if round_number > 1:
                # What was deleted may still be listed, especially uploads.
                aws.pause_or_end(0.1 * 2 ** min(round_number, 5), self.seconds_left)

    def start_deletions(self, pool: Any) -> tuple[bool, deque[Any]]:
        """Start to delete all versions: whether there are any, and the deletions to await."""
        found = False
        pending: deque[Any] = deque()
        pages = self.list_versions()
        first: list[list[Listed]] = []
        least = (1 - TIME_TO_LIST_FIRST) * self.seconds_left()
        for page in islice(pages, PAGES_LISTED_FIRST):
            first.append(page)
            if self.seconds_left() < least:
                break
        for page in chain(first, pages):
            found = found or bool(page)
            in_xml = [version for version in page if not _NOT_IN_XML.search(version["Key"])]
            starts = range(0, len(in_xml), KEYS_A_REQUEST)
            batches = [in_xml[start : start + KEYS_A_REQUEST] for start in starts]
            if len(in_xml) < len(page):
                batches += [[version] for version in page if _NOT_IN_XML.search(version["Key"])]
            pending.extend(pool.submit(self.delete_versions, batch) for batch in batches)
            # This bounds memory, however many pages there are.
            while len(pending) > 2 * aws.PARALLEL_REQUESTS:
                pending.popleft().result()
        return found, pending

    def list_versions(self) -> Iterator[list[Listed]]:
        """Pages of versions and delete markers."""
        markers: dict[str, str] = {}
        while True:
            page = self.s3.list_object_versions(Bucket=self.bucket, Prefix=self.prefix, **markers)
            yield page.get("Versions", []) + page.get("DeleteMarkers", [])
            if not page["IsTruncated"]:
                return
            markers = {"KeyMarker": page["NextKeyMarker"]}
            markers["VersionIdMarker"] = page["NextVersionIdMarker"]

    def list_uploads(self) -> list[Listed]:
        """All unfinished uploads."""
        found: list[Listed] = []
        markers: dict[str, str] = {}
        while True:
            # botocore 1.43 decodes keys of other listings by itself, but not of this one.
            page = self.s3.list_multipart_uploads(
                Bucket=self.bucket, Prefix=self.prefix, EncodingType="url", **markers
            )
            decode = unquote_plus if page.get("EncodingType") == "url" else str
            found += [upload | {"Key": decode(upload["Key"])} for upload in page.get("Uploads", [])]
            if not page["IsTruncated"]:
                return found
            markers = {"KeyMarker": decode(page["NextKeyMarker"])}
            markers["UploadIdMarker"] = page["NextUploadIdMarker"]

    def abort(self, upload: Listed) -> None:
        """Abort an upload."""
        key, upload_id = upload["Key"], upload["UploadId"]
        try:
            self.s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except Exception as error:
            # Already aborted, or completed: then the next listing of the versions has its object.
            if _code(error) != "NoSuchUpload":
                self.refused.append((_code(error), key))
        else:
            self.add_to_log(uploads_aborted=1)

    def delete_versions(self, versions: list[Listed]) -> None:
        """Delete versions, and retry those with a transient error."""
        pending = {(version["Key"], version["VersionId"]): version for version in versions}
        while pending:
            if self.pause_seconds > 0.01:
                aws.pause_or_end(self.pause_seconds, self.seconds_left)
            errors = self.delete_batch(list(pending))
            deleted = [pending[each] for each in pending if each not in errors]
            objects = sum("Size" in version and version["IsLatest"] for version in deleted)
            self.add_to_log(objects_deleted=objects, versions_deleted=len(deleted) - objects)
            pending = {k: v for k, v in pending.items() if errors.get(k) in aws.TRANSIENT_CODES}
            self.refused += [(errors[each], each[0]) for each in errors if each not in pending]
            slower = min(max(0.1, 2 * self.pause_seconds), aws.MAX_PAUSE_SECONDS)
            self.pause_seconds = slower if pending else self.pause_seconds / 2

    def delete_batch(self, versions: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Request the deletion of versions; the codes of errors by key and version id."""
        objects = [{"Key": key, "VersionId": version_id} for key, version_id in versions]
        try:
            if _NOT_IN_XML.search(objects[0]["Key"]):
                # This one key, which XML cannot express, is in the URL of the request.
                self.s3.delete_object(Bucket=self.bucket, **objects[0])
                return {}
            response = self.s3.delete_objects(
                Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        except Exception as error:
            return dict.fromkeys(versions, _code(error))
        # S3 reports what it did not delete key by key, inside a 200.
        errors = response.get("Errors", [])
        return {(error["Key"], error.get("VersionId", "null")): error["Code"] for error in errors}

    def add_to_log(self, **counts: int) -> None:
        """Add to the counts; by several threads at once."""
        with self.log_lock:
            for name, number in counts.items():
                self.log[name] += number


def _code(error: Exception) -> str:
    """The code of an error response of S3; any other exception is raised again."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        raise error
    return str(error.response["Error"]["Code"])
