"""chalicelib/edge.py: what needs no route to be shown."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import edge


@given(texts=st.lists(st.text(), max_size=5))
def test_room_counts_a_text_as_lambda_escapes_it(texts: list[str]) -> None:
    ascii_texts = [json.dumps(text) for text in texts]
    # A comma each, and the quotes that json.dumps puts around the whole.
    size = len(json.dumps("".join(ascii_texts))) - 2 + len(texts)
    for left, fits in ((size, True), (size - 1, not texts)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edge, "ROOM_BYTES", left)
            assert all(map(edge.room(), ascii_texts)) == fits or not texts


def test_room_counts_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "ROOM_BYTES", 10)
    assert edge.room()("12345678")
    assert not edge.room("12")("12345678")


def test_the_log_goes_to_stdout_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("jobs_api.test")
    monkeypatch.setattr(edge, "LOG", log)
    edge.configure_log("ERROR")
    edge.configure_log("ERROR")
    [handler] = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
    assert log.level == logging.ERROR
    assert not log.propagate
