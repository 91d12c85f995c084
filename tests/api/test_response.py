"""chalicelib/response.py and api.py: what is best shown without a route."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import api, response


@given(members=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=4))
def test_encoded_values_make_the_json_that_they_make_together(members: dict[str, object]) -> None:
    values = [response.encode(value) for value in members.values()]
    pairs = [response.encode(name) + f":{response.encode(members[name])}" for name in members]
    arrays = response.json_array("a", values) + response.json_array("b", values)
    body = response.json_body(arrays, [], response.json_object("c", pairs), d="x", e=None)
    array = list(members.values())
    assert json.loads(body) == {"a": array, "b": array, "c": members, "d": "x"}


def test_the_log_goes_to_stdout_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.Logger("of this test only")
    monkeypatch.setattr(api, "LOG", log)
    api.configure_log("ERROR")
    api.configure_log("ERROR")
    [handler] = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
    assert log.level == logging.ERROR
    assert not log.propagate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "GET https://h/x?X-Amz-Signature=abc failed for a@example.com: XXXX a-token",
            "GET https://h/<removed> failed for <removed>: XXXX <removed>",
        ),
        ('on "https://b.s3.x.com/u/1/a%20b.png"', 'on "https://b.s3.x.com/<removed>"'),
        ('on "http://[::1]:9000/b/u/1/a.png?uploadId=x"', 'on "http://[::1]:9000/<removed>"'),
        (
            "no s3:DeleteObject arn:aws:s3:::b/u/1/a.png",
            "no s3:DeleteObject arn:aws:s3:::b/<removed>",
        ),
        ('File "/var/task/app.py", line 3', 'File "/var/task/app.py", line 3'),
        ('on "https://dynamodb.x.com/"', 'on "https://dynamodb.x.com/"'),
    ],
)
def test_secrets_and_objects_keys_are_taken_out_of_a_text(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    assert api.without_secrets(text) == expected
