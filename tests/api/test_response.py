"""chalicelib/response.py: JSON bodies, and the responses to failures."""

import json

import pytest

from chalicelib import aws, response
from tests.support.events import Invoke
from tests.support.scripted_server import Scripted, scripted_server


@pytest.mark.parametrize("members", [{}, {"x": 1}, {"x": None, "ü": '"é'}, {"x": 1, "y": 2, "": 3}])
def test_a_body_of_encoded_members_is_the_json_of_their_values(members: dict[str, object]) -> None:
    values = [response.encode(value) for value in members.values()]
    pairs = [response.encode(name) + f":{response.encode(members[name])}" for name in members]
    arrays = response.json_array("a", values) + response.json_array("b", values)
    body = response.json_body(arrays, [], response.json_object("c", pairs), d="x", e=None)
    array = list(members.values())
    assert json.loads(body) == {"a": array, "b": array, "c": members, "d": "x"}


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Scripted(400, '{"__type": "x#ThrottlingException"}'), 503),
        (Scripted(400, '{"__type": "x#AccessDeniedException", "message": "no"}'), 500),
        # A search for secrets in it must not take a time that grows with its square.
        (Scripted(400, json.dumps({"__type": "x#Whatever", "message": "?" * 100_000})), 500),
    ],
    ids=["throttles", "refuses", "is verbose"],
)
def test_a_broken_store_gets_a_503_with_retry_after_or_a_500(
    response: Scripted, status: int, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.botocore_client.cache_clear()
    with scripted_server(response) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        for path in ("/jobs/list", "/jobs/get"):
            assert invoke("GET", path, {"job-id": "1"}).status == status
    aws.botocore_client.cache_clear()
