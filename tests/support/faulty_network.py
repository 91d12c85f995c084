"""A network that fails by a schedule: a proxy in front of the emulated AWS, over sockets."""

import http.client
import re
import select
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum, auto

from tests.support.servers import Handler, serving

# S3 may return fewer than MaxKeys at any time, so each list has its pages.
PAGE = "max-keys=3&max-uploads=3"
HELD_SECONDS = 30


class Fault(Enum):
    """What happens to one request."""

    THROTTLE = auto()
    FAIL = auto()
    BE_BUSY = auto()
    FAIL_INSIDE_200 = auto()
    CUT = auto()  # before the request took effect
    LOSE = auto()  # it took effect, the response is lost
    HALVE = auto()  # it took effect, half of the response comes
    REFUSE_KEYS = auto()  # DeleteObjects leaves every other key and reports it, inside a 200
    DENY_KEYS = auto()  # the same, with an error that does not pass
    STALL = auto()  # nothing comes; once released, the request goes through
    STALL_RESPONSE = auto()  # it took effect; once released, the response comes


RESPONSES = {
    Fault.THROTTLE: (503, "SlowDown", 400, "ProvisionedThroughputExceededException"),
    Fault.FAIL: (500, "InternalError", 500, "InternalServerError"),
    Fault.BE_BUSY: (503, "ServiceUnavailable", 503, "ServiceUnavailable"),
    Fault.FAIL_INSIDE_200: (200, "InternalError", 500, "InternalServerError"),
}
KEY_ERRORS = {Fault.REFUSE_KEYS: b"InternalError", Fault.DENY_KEYS: b"AccessDenied"}


class FaultyNetwork:
    """The requests, in the order of their arrival, meet the planned faults; then all is well.

    The errors key by key wait for the next requests that delete objects.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[str] = []
        self.injected = Counter[Fault]()
        self.stalled = threading.Event()
        self.released = threading.Event()
        self._planned = deque[Fault | None]()
        self._key_errors = deque[Fault]()
        self._lock = threading.Lock()

    def plan(self, *faults: Fault | None) -> None:
        """Forget what was, and let the next requests meet these faults; None is none."""
        with self._lock:
            self.requests.clear()
            self._planned = deque(fault for fault in faults if fault not in KEY_ERRORS)
            self._key_errors = deque(fault for fault in faults if fault and fault in KEY_ERRORS)
        self.stalled.clear()
        self.released.clear()

    def meet(self, request: str, is_delete_objects: bool) -> Fault | None:
        """The fault for a request that has just come."""
        with self._lock:
            self.requests.append(request)
            fault = self._planned.popleft() if self._planned else None
            if fault is None and is_delete_objects and self._key_errors:
                fault = self._key_errors.popleft()
            if fault:
                self.injected[fault] += 1
            return fault


@contextmanager
def faulty_network(upstream_port: int) -> Iterator[FaultyNetwork]:
    """Serve on a free port of 127.0.0.1, in front of that port."""

    class Faulty(Handler):
        def respond(self) -> None:
            body = self.read_body()
            target = self.headers.get("X-Amz-Target", "")
            fault = network.meet(
                target or f"{self.command} {self.path}", self.path.endswith("?delete")
            )
            if fault is Fault.CUT or (fault is Fault.STALL and not self.outlives_a_stall()):
                self.close_connection = True
            elif fault in RESPONSES:
                self.send(*failure(fault, is_dynamodb=bool(target)))
            elif fault in KEY_ERRORS:
                left, errors = refuse_keys(body, KEY_ERRORS[fault])
                if b"<Object>" in left:
                    self.forward(left)
                self.send(200, b"<DeleteResult>" + errors + b"</DeleteResult>")
            else:
                status, response = self.forward(body)
                if fault is Fault.LOSE or (
                    fault is Fault.STALL_RESPONSE and not self.outlives_a_stall()
                ):
                    self.close_connection = True
                else:
                    missing = len(response) // 2 if fault is Fault.HALVE else 0
                    self.send(status, response[: len(response) - missing], missing_bytes=missing)

        def outlives_a_stall(self) -> bool:
            """Wait until released, or until the client has gone; whether it is still there."""
            network.stalled.set()
            for _ in range(HELD_SECONDS * 100):
                if select.select([self.connection], [], [], 0)[0]:
                    return False
                if network.released.wait(0.01):
                    return True
            return False

        def forward(self, body: bytes) -> tuple[int, bytes]:
            path = re.sub(r"\?(versions|uploads)\b", rf"\g<0>&{PAGE}", self.path)
            headers = dict(self.headers.items()) | {"Content-Length": str(len(body))}
            with closing(http.client.HTTPConnection("127.0.0.1", upstream_port)) as upstream:
                upstream.request(self.command, path, body, headers)
                response = upstream.getresponse()
                return response.status, response.read()

    with serving(Faulty) as url:
        network = FaultyNetwork(url)
        try:
            yield network
        finally:
            network.released.set()


def failure(fault: Fault, *, is_dynamodb: bool) -> tuple[int, bytes]:
    """The status and body with which S3 or DynamoDB fails."""
    s3_status, s3_code, dynamodb_status, dynamodb_code = RESPONSES[fault]
    if is_dynamodb:
        return dynamodb_status, b'{"__type":"com.amazonaws.x#%s"}' % dynamodb_code.encode()
    return s3_status, b"<Error><Code>%s</Code><Message>m</Message></Error>" % s3_code.encode()


def refuse_keys(body: bytes, code: bytes) -> tuple[bytes, bytes]:
    """A DeleteObjects request without every other key, and what its response says about them."""
    errors = b""
    for refused in re.findall(rb"<Object>(.*?)</Object>", body, re.DOTALL)[::2]:
        body = body.replace(b"<Object>%s</Object>" % refused, b"")
        errors += b"<Error>%s<Code>%s</Code><Message>m</Message></Error>" % (refused, code)
    return body, errors
