"""A strict S3 in memory, and the one table entry next to it: a real HTTP server on 127.0.0.1.

It refuses what S3 refuses, counts requests, and fails on demand: key by key, by response, by a
limit of deletes a second, by responses that are late or never come.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.support.servers import Handler, serving

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MOST_KEYS = 1_000
Query = dict[str, str]
Response = tuple[int, str]


class StrictS3:
    """What is stored, what was requested, and how the next requests fail.

    `key_errors`: the codes that the next deletions of a key fail with, one each. `failures`: by
    operation, what its next requests meet: a status and code, the bytes of a 200, seconds to wait,
    or HANG_UP. `latency_seconds` holds for every response.
    """

    HANG_UP = "hang up"

    def __init__(self) -> None:
        self.url = ""
        # By key and number, which grows: "Version" or "DeleteMarker".
        self.versions: dict[tuple[str, int], str] = {}
        self.uploads: dict[tuple[str, int], str] = {}
        self.entry = True
        # What was left when the entry was deleted: nothing, as the API promises.
        self.outlived: list[str] = []
        self.requests: list[str] = []
        # Operations that were in progress at the same time.
        self.concurrent: set[frozenset[str]] = set()
        self._in_progress: list[str] = []
        self.key_errors: dict[str, Iterator[str]] = {}
        self.failures: dict[str, Iterator[Any]] = {}
        self.latency_seconds = 0.0
        self.page_size = MOST_KEYS
        self.encodes_keys = True
        self.deletes_a_second = 0.0
        self.on_abort: Callable[[tuple[str, int]], int] = self.abort
        # Requests on connections that are older get no response, as if a NAT had forgotten them.
        self.oldest_connection = 0.0
        self.forgotten = 0
        self._tokens = 0.0
        self._refilled = time.monotonic()
        self._numbers = count(1)
        self._lock = threading.RLock()

    # --- What a test stores

    def put(self, *keys: str) -> None:
        for key in keys:
            self._put(key, "Version")

    def mark_deleted(self, key: str) -> None:
        self._put(key, "DeleteMarker")

    def start_upload(self, key: str) -> None:
        self.uploads[key, next(self._numbers)] = "Upload"

    def complete_upload(self, upload: tuple[str, int]) -> int:
        """The status of an abort that comes too late."""
        del self.uploads[upload]
        self.put(upload[0])
        return 404

    def below(self, prefix: str) -> list[str]:
        """The keys of all versions, delete markers and uploads below a prefix."""
        return sorted(key for key, _ in (*self.versions, *self.uploads) if key.startswith(prefix))

    def counted(self) -> Counter[str]:
        """How many requests of each operation have come."""
        with self._lock:
            return Counter(self.requests)

    # --- What a client requests

    def respond(self, operation: str, key: str, query: Query, body: bytes) -> Response:
        """The response to a request, which takes effect."""
        if not self.encodes_keys:
            query.pop("encoding-type", None)
        with self._lock:
            match operation:
                case "ListObjectVersions":
                    return self._list("ListVersionsResult", self.versions, "Version", query)
                case "ListMultipartUploads":
                    return self._list("ListMultipartUploadsResult", self.uploads, "Upload", query)
                case "DeleteObjects":
                    return self._delete_objects(body)
                case "DeleteObject":
                    return self._delete_object(key, query)
                case "AbortMultipartUpload":
                    status = self.on_abort((key, int(query["uploadId"])))
                    return (204, "") if status == 204 else error(status, "NoSuchUpload")
                case "DeleteItem":
                    self.outlived += self.below("")
                    self.entry = False
                    return 200, "{}"
        raise AssertionError(f"{operation} is not a request that a delete needs")

    def abort(self, upload: tuple[str, int]) -> int:
        """The status of an abort, after which the upload is gone."""
        return 204 if self.uploads.pop(upload, None) else 404

    def failure(self, operation: str) -> Any:
        """What the request meets, which has just come; None for nothing."""
        with self._lock:
            self.requests.append(operation)
            return next(self.failures.get(operation, iter(())), None)

    @contextmanager
    def in_progress(self, operation: str) -> Iterator[None]:
        """While a request of the operation is responded to."""
        with self._lock:
            self.concurrent |= {frozenset((operation, other)) for other in self._in_progress}
            self._in_progress.append(operation)
        try:
            yield
        finally:
            with self._lock:
                self._in_progress.remove(operation)

    def _put(self, key: str, tag: str) -> None:
        with self._lock:
            self.versions[key, next(self._numbers)] = tag

    def _list(
        self, result: str, stored: dict[tuple[str, int], str], kind: str, query: Query
    ) -> Response:
        """A page of what is stored, with markers if there is more."""
        # Without an id, the page begins behind all ids of the key.
        number = int(query.get(f"{kind.lower()}-id-marker") or 0)
        after = position(query.get("key-marker", ""), number)
        found = [each for each in stored if each[0].startswith(query["prefix"])]
        found.sort(key=lambda each: position(*each))
        newest = dict(reversed(found))
        rest = [each for each in found if position(*each) > after]
        more = len(rest) > self.page_size
        content = "<EncodingType>url</EncodingType>" if "encoding-type" in query else ""
        for key, number in rest[: self.page_size]:
            tag = stored[key, number]
            content += f"<{tag}><Key>{listed(key, query)}</Key><{kind}Id>{number}</{kind}Id>"
            if kind == "Version":
                content += f"<IsLatest>{str(newest[key] == number).lower()}</IsLatest>"
            content += f"{'<Size>7</Size>' if tag == 'Version' else ''}</{tag}>"
        if more:
            content += f"<NextKeyMarker>{listed(key, query)}</NextKeyMarker>"
            content += f"<Next{kind}IdMarker>{number}</Next{kind}IdMarker>"
        content += f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return 200, f'<{result} xmlns="{NAMESPACE}">{content}</{result}>'

    def _delete_objects(self, body: bytes) -> Response:
        try:
            # Expat, as S3, takes no character that XML 1.0 has not, nor a reference to one.
            request = ElementTree.fromstring(body)
        except ElementTree.ParseError:
            return error(400, "MalformedXML")
        names = {"s": NAMESPACE}
        objects = request.findall("s:Object", names)
        if not 1 <= len(objects) <= MOST_KEYS:
            return error(400, "MalformedXML")
        parts = []
        for item in objects:
            key = item.findtext("s:Key", "", names)
            version_id = item.findtext("s:VersionId", "", names)
            if code := self._delete(key, version_id):
                told = f"<Key>{escape(key)}</Key><VersionId>{version_id}</VersionId>"
                parts.append(f"<Error>{told}<Code>{code}</Code><Message>m</Message></Error>")
        return 200, f'<DeleteResult xmlns="{NAMESPACE}">{"".join(parts)}</DeleteResult>'

    def _delete_object(self, key: str, query: Query) -> Response:
        code = self._delete(key, query.get("versionId", ""))
        return error(403, code) if code else (204, "")

    def _delete(self, key: str, version_id: str) -> str:
        """Delete a version, or put a marker where none is named; the error's code, or nothing."""
        if code := next(self.key_errors.get(key, iter(())), ""):
            return code
        if not self._takes_another():
            return "SlowDown"
        if not version_id:
            self.mark_deleted(key)
        self.versions.pop((key, int(version_id or 0)), None)
        return ""

    def _takes_another(self) -> bool:
        """Whether the limit of deletes a second allows one now."""
        if not self.deletes_a_second:
            return True
        now = time.monotonic()
        tokens = self._tokens + (now - self._refilled) * self.deletes_a_second
        self._tokens, self._refilled = min(tokens, self.deletes_a_second), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def error(status: int, code: str) -> Response:
    return status, f"<Error><Code>{code}</Code><Message>m</Message></Error>"


def position(key: str, number: int) -> tuple[bytes, int]:
    """S3 lists by the key's bytes, each key's newest version first."""
    return key.encode(), -number


def listed(key: str, query: Query) -> str:
    """A key in a listing. XML has no way to say some, unless the client wants them encoded."""
    return quote_plus(key, safe="/*") if query.get("encoding-type") == "url" else escape(key)


def operation_of(method: str, query: Iterable[str], target: str) -> str:
    """The name of the operation that a request is."""
    if target:
        return target.rpartition(".")[2]
    names = {
        ("GET", "versions"): "ListObjectVersions",
        ("GET", "uploads"): "ListMultipartUploads",
        ("POST", "delete"): "DeleteObjects",
        ("DELETE", "uploadId"): "AbortMultipartUpload",
    }
    found = [names[method, name] for name in query if (method, name) in names]
    return found[0] if found else {"DELETE": "DeleteObject"}.get(method, method)


@contextmanager
def strict_s3() -> Iterator[StrictS3]:
    """Serve on a free port of 127.0.0.1."""
    s3 = StrictS3()

    class Strict(Handler):
        def respond(self) -> None:
            if self.opened < s3.oldest_connection:
                s3.forgotten += 1
                self.wait()
            body = self.read_body()
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            # Path style: /bucket/key
            key = unquote(url.path.partition("/")[2].partition("/")[2])
            operation = operation_of(self.command, query, self.headers.get("X-Amz-Target", ""))
            with s3.in_progress(operation):
                failure = s3.failure(operation)
                self.wait(s3.latency_seconds + (failure if isinstance(failure, int | float) else 0))
                match failure:
                    case s3.HANG_UP:
                        self.close_connection = True
                    case bytes():
                        self.send(200, failure)
                    case (status, code):
                        self.send_text(*error(status, code))
                    case _:
                        self.send_text(*s3.respond(operation, key, query, body))

        def send_text(self, status: int, body: str) -> None:
            self.send(status, body.encode())

    with serving(Strict) as s3.url:
        yield s3
