"""chalicelib/response.py: what is best shown without a route."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import response


@given(members=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=4))
def test_encoded_members_make_the_object_that_json_makes(members: dict[str, object]) -> None:
    encoded = {name: response.encode(value) for name, value in members.items()}
    assert response.encode_object(encoded) == response.encode(members)
    array = response.encode_array(encoded.values())
    assert json.loads(array) == list(members.values())


def test_the_log_goes_to_stdout_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("jobs_api.test")
    monkeypatch.setattr(response, "LOG", log)
    response.configure_log("ERROR")
    response.configure_log("ERROR")
    [handler] = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
    assert log.level == logging.ERROR
    assert not log.propagate
