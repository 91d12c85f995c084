"""The running app over sockets: dev/server.py, with verified tokens, in front of ministack."""

import base64
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.config import load_settings
from chalicelib.urls import signer
from dev.emulated_aws import REGION, api_environ
from tests.support.running_api import Running


def test_an_object_url_opens_and_a_tampered_one_does_not(running: Running) -> None:
    names = running.put_job(2)
    name, other = sorted(names)[:2]
    query: dict[str, Any] = {"job_id": 2, "object_uuid": name, "download_as": "mine.png"}
    url = running("GET", "/jobs/get-object-url", **query).json()["url"]
    image = running.http.request("GET", url)
    assert image.status == 200
    assert image.data.startswith(b"\x89PNG")
    for tampered in (
        url.replace(name, other),
        url.replace("mine.png", "mine.exe"),
        url.replace("X-Amz-Expires=3900", "X-Amz-Expires=9999"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ):
        assert running.http.request("GET", tampered, retries=False).status == 403


@pytest.mark.parametrize(("age", "status"), [(3890, 200), (3910, 403)], ids=["valid", "expired"])
def test_a_url_expires_after_its_expiry_and_window(age: int, status: int, running: Running) -> None:
    name = min(running.put_job(2))
    settings = load_settings(api_environ(running.aws, running.pool_arn))
    sign = signer(settings, REGION, ("test", "test", None), int(time.time()) - age)
    answer = running.http.request("GET", sign(f"{running.alice}/2/{name}"), retries=False)
    assert answer.status == status
    assert (b"expired" in answer.data) == (status == 403)


def tampered(token: str) -> str:
    """The token with another subject under the same signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["sub"] = "somebody-else"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{forged}.{signature}"


BAD_TOKENS: dict[str, Callable[[Running], str]] = {
    "missing": lambda running: "",
    "garbage": lambda running: "garbage",
    "Bearer alone": lambda running: "Bearer ",
    "dots": lambda running: "a.b.c",
    "tampered": lambda running: tampered(running.tokens["IdToken"]),
    "unsigned": lambda running: running.tokens["IdToken"].rpartition(".")[0] + ".",
    "access": lambda running: running.tokens["AccessToken"],
    "other pool": lambda running: running.other_pools_token,
    "expired": lambda running: running.expired_token,
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_gets_401_with_all_headers(kind: str, running: Running) -> None:
    answer = running("GET", "/jobs/list", token=BAD_TOKENS[kind](running))
    assert (answer.status, answer.json()) == (401, {"message": "Unauthorized"})


def test_the_log_says_that_an_access_token_is_not_an_id_token(running: Running) -> None:
    running("GET", "/jobs/list", token=running.tokens["AccessToken"])
    assert "Unauthorized: the token is not an ID token" in running.log.read_text()


CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"


def test_the_log_names_no_file(running: Running) -> None:
    running("GET", "/jobs/get-object-url", job_id=2, object_uuid="a.png", download_as="tax.pdf")
    with socket.create_connection(("127.0.0.1", urlsplit(running.url).port)) as connection:
        connection.sendall(b"GET /jobs/get-object-url?download-as=my tax.pdf HTTP/1.1\r\n\r\n")
        assert b'{"message": "Bad request syntax' in connection.makefile("rb").read()
    log = running.log.read_text()
    assert "GET /jobs/get-object-url 200" in log
    assert "tax.pdf" not in log


def test_a_malformed_body_gets_400(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(running.url).port)) as connection:
        connection.sendall(f"DELETE /jobs/delete HTTP/1.1\r\n{CHUNKED}3\r\nabcde\r\n0\r\n".encode())
        received = connection.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b'\r\n\r\n{"message": "Bad Request"}')


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_leaves_in_a_chunk_leaves_no_traceback(reset: bool, running: Running) -> None:
    # Several: the server has certainly handled the first when it responds to the last request.
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", urlsplit(running.url).port)) as connection:
            connection.sendall(f"DELETE /jobs/delete HTTP/1.1\r\n{CHUNKED}9\r\nabc".encode())
            linger = struct.pack("ii", reset, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert running("GET", "/jobs/list").status == 200
    assert "Traceback" not in running.log.read_text()
