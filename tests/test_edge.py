"""chalicelib/edge.py: what needs no route to be shown."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import edge


@given(texts=st.lists(st.text(), min_size=2, max_size=6))
def test_a_page_counts_a_text_as_lambda_escapes_it(texts: list[str]) -> None:
    ascii_texts = [json.dumps(text) for text in texts]
    # A comma each, and the quotes that json.dumps puts around the whole.
    size = len(json.dumps("".join(ascii_texts))) - 2 + len(texts)
    for left, fits in ((size, len(texts)), (size - 1, len(texts) - 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edge, "ROOM_BYTES", left)
            page, end = edge.page(range(len(texts)), lambda i: ascii_texts[i])
        assert page == ascii_texts[:fits]
        assert end == ([] if fits == len(texts) else [fits - 1])


def test_a_page_counts_what_is_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "ROOM_BYTES", 10)
    assert edge.page([1234, 5678], str) == (["1234", "5678"], [])
    assert edge.page([1234, 5678], str, beside="1") == (["1234"], [1234])


def test_a_page_holds_one_text_even_where_it_does_not_fit_so_that_paging_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "ROOM_BYTES", 1)
    assert edge.page([1234, 5678], str) == (["1234"], [1234])
    assert edge.page([1234], str) == (["1234"], [])


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
