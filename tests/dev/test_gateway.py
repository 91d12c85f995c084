"""API Gateway on this machine, in front of an app that responds with its event."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from chalice.app import Chalice, CognitoUserPoolAuthorizer, CORSConfig
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.serving import make_server, make_ssl_devcert
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from dev.gateway import Gateway
from dev.resources import HEADERS
from tests.support.events import ENVIRON, lambda_event
from tests.support.scripted_server import HANG_UP, Scripted, scripted_server

SECONDS = 27
KEY = rsa.generate_private_key(65537, 2048)
PUBLIC = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
KEYS = json.dumps({"keys": [{**PUBLIC, "kid": "1"}]})


class Echo(Chalice):
    """/closed needs a token, /open does not, /fails ends without a response."""

    def __init__(self) -> None:
        super().__init__("echo", configure_logs=False)
        self.api.cors = CORSConfig()
        users = CognitoUserPoolAuthorizer("Users", provider_arns=[ENVIRON["USER_POOL_ARN"]])
        for path, authorizer in (("/closed", users), ("/open", None), ("/fails", None)):
            self.route(path, authorizer=authorizer)(self.echo)

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        if event["requestContext"]["resourcePath"] == "/fails":
            raise MemoryError
        return super().__call__(event, context)

    def echo(self) -> Any:
        assert self.current_request is not None
        event = self.current_request.to_original_event()
        return {**event, "milliseconds": self.lambda_context.get_remaining_time_in_millis()}


def client_of(load_app: Callable[[], Chalice]) -> Client:
    return Client(Request.application(Gateway(load_app, SECONDS).respond))


def signed(kid: str = "1", **claims: Any) -> dict[str, str]:
    lasting = {"iat": int(time.time()), "exp": int(time.time()) + 60}
    return {"Authorization": jwt.encode(lasting | claims, KEY, "RS256", {"kid": kid})}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def client(environ: pytest.MonkeyPatch) -> Iterator[Client]:
    with scripted_server(Scripted(200, KEYS)) as cognito:
        environ.setenv("AWS_ENDPOINT_URL", cognito.url)
        yield client_of(Echo)


def test_the_event_is_like_that_of_the_other_tests(client: Client) -> None:
    event = json.loads(client.get("/closed/?a=1&a=%C3%BC&b=", headers=signed()).text)
    expected = lambda_event("GET", "/closed", {"a": ["1", "ü"], "b": ""}, claims={})
    assert expected.keys() <= event.keys()
    assert expected["requestContext"].keys() <= event["requestContext"].keys()
    name = "multiValueQueryStringParameters"
    assert event[name] == expected[name]
    assert event["requestContext"]["resourcePath"] == "/closed"
    assert 0 < event["milliseconds"] <= SECONDS * 1000


def test_every_claim_is_a_text(client: Client) -> None:
    token = signed(sub="u", n=5, b=True)["Authorization"]
    response = client.get("/closed", headers={"Authorization": f"Bearer {token}"})
    claims = json.loads(response.text)["requestContext"]["authorizer"]["claims"]
    assert {"sub": "u", "n": "5", "b": "true"}.items() <= claims.items()


@pytest.mark.parametrize("off", [{"iat": 2, "nbf": 2}, {"exp": -1}], ids=["ahead", "behind"])
def test_a_token_from_a_clock_that_is_a_second_off_is_accepted(off: Any, client: Client) -> None:
    claims: Any = {claim: time.time() + seconds for claim, seconds in off.items()}
    assert client.get("/closed", headers=signed(**claims)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "Signature has expired"),
        ({"iat": 10**10}, "The token is not yet valid (iat)"),
        ({"kid": "made up"}, "Unable to find a signing key that matches"),
    ],
)
def test_the_log_has_the_reason_of_a_401_but_not_the_token(
    claims: Any, reason: str, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    response = client.get("/closed", headers=signed(**claims))
    assert (response.status_code, response.json) == (401, {"message": "Unauthorized"})
    assert capsys.readouterr().err == f"Unauthorized: {reason}\n"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Scripted(404), "HTTP Error 404"),
        (Scripted(200, "<html>"), "Expecting value"),
        (Scripted(200, "[]"), ""),
        (Scripted(200), ""),
        (Scripted(HANG_UP), "Remote end closed"),
    ],
)
def test_keys_that_cannot_be_read_are_said_with_their_url(
    response: Scripted,
    reason: str,
    environ: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with scripted_server(response) as cognito:
        environ.setenv("AWS_ENDPOINT_URL", cognito.url)
        answer = client_of(Echo).get("/closed", headers=signed())
    path = f"/{ENVIRON['USER_POOL_ARN'].rpartition('/')[2]}/.well-known/jwks.json"
    assert cognito.requests == [f"GET {path}"]
    [line] = capsys.readouterr().err.splitlines()
    assert (answer.status_code, answer.json) == (500, {"message": line})
    assert f"keys cannot be read from {cognito.url}{path}: {reason}" in line


def test_the_keys_may_need_a_certificate_of_aws_ca_bundle(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = make_ssl_devcert(str(tmp_path / "tls"), host="localhost")
    server = make_server("127.0.0.1", 0, Response(KEYS), ssl_context=pair, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ.setenv("AWS_ENDPOINT_URL", f"https://localhost:{server.port}")
    for bundle, status in (("", 500), (pair[0], 200), (str(tmp_path / "missing"), 500)):
        environ.setenv("AWS_CA_BUNDLE", bundle)
        assert client_of(Echo).get("/closed", headers=signed()).status_code == status
    server.shutdown()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/closed", 401),
        ("GET", "/", 403),
        ("PROPFIND", "/open", 403),
        ("HEAD", "/open", 403),
        ("GET", "/fails", 502),
        ("OPTIONS", "/closed", 200),
    ],
)
def test_its_own_responses_have_the_headers_of_the_template(
    method: str, path: str, status: int, client: Client
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert HEADERS.keys() <= dict(response.headers).keys()
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/json"
    assert len(response.headers["X-Request-Id"]) == 36
    body = json.loads(response.data) if response.data else {}
    assert list(body) == ([] if method in ("HEAD", "OPTIONS") else ["message"])


def test_requests_at_a_time_have_an_instance_of_the_app_each(environ: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2)

    class Waiting(Echo):
        def echo(self) -> Any:
            together.wait(10)
            return super().echo()

    client = client_of(Waiting)
    with ThreadPoolExecutor() as pool:
        events = [*pool.map(lambda n: json.loads(client.get(f"/open?n={n}").text), range(2))]
    queries = [event["multiValueQueryStringParameters"] for event in events]
    assert queries == [{"n": ["0"]}, {"n": ["1"]}]
