"""chalicelib/paging.py: what fits one response, and cursors that are valid for one scope."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import paging
from chalicelib.errors import ApiError
from chalicelib.paging import decode_cursor, encode_cursor, escaped_bytes, fill_page

POSITION = ["17", "2026-01-01 12:00:00 UTC"]
SCOPE = ("deployment", "alice", "list", "byDate")


def fill_page_with(numbers: list[int], limit: int | None = None, reserved: int = 0) -> object:
    return fill_page(numbers, str, escaped_bytes, lambda n: [str(n)], limit, reserved)


@given(texts=st.lists(st.text(), min_size=2, max_size=6))
def test_a_text_is_counted_as_lambda_escapes_it(texts: list[str]) -> None:
    encoded = [json.dumps(text) for text in texts]
    # A comma each, and the quotes that json.dumps puts around the whole.
    size = len(json.dumps("".join(encoded))) - 2 + len(texts)
    for room, count in ((size, len(texts)), (size - 1, len(texts) - 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paging, "MAX_BYTES_OF_ROWS", room)
            rows, position = fill_page(
                range(len(texts)), encoded.__getitem__, escaped_bytes, lambda i: [str(i)]
            )
        assert rows == encoded[:count]
        assert position == (None if count == len(texts) else [str(count - 1)])


def test_what_is_reserved_is_not_available_to_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_BYTES_OF_ROWS", 10)
    assert fill_page_with([1234, 5678]) == (["1234", "5678"], None)
    assert fill_page_with([1234, 5678], reserved=1) == (["1234"], ["1234"])


def test_one_row_is_taken_even_if_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else paging would never end."""
    monkeypatch.setattr(paging, "MAX_BYTES_OF_ROWS", 1)
    assert fill_page_with([1234, 5678]) == (["1234"], ["1234"])
    assert fill_page_with([1234]) == (["1234"], None)


@pytest.mark.parametrize(
    ("limit", "rows", "position"),
    [(1, ["1"], ["1"]), (2, ["1", "2"], ["2"]), (3, ["1", "2", "3"], None), (None,) * 3],
)
def test_a_position_is_returned_only_if_more_follow(
    limit: int | None, rows: list[str] | None, position: list[str] | None
) -> None:
    assert fill_page_with([1, 2, 3], limit) == (rows or ["1", "2", "3"], position)


def decode(cursor: str, *scope: str) -> list[str] | None:
    return decode_cursor(cursor, lambda _: True, *scope)


@given(position=st.lists(st.text(), max_size=3), scope=st.lists(st.text(), max_size=3))
def test_a_cursor_decodes_to_its_position(position: list[str], scope: list[str]) -> None:
    assert decode(encode_cursor(position, *scope), *scope) == position


def test_a_cursor_contains_nothing_of_its_scope() -> None:
    decoded = base64.urlsafe_b64decode(encode_cursor(POSITION, *SCOPE) + "==")
    assert not any(part.encode() in decoded for part in SCOPE)


@pytest.mark.parametrize(
    "scope",
    [
        ("deployment", "bob", "list", "byDate"),
        ("deployment", "alice", "get", "byDate"),
        ("deployment", "alice", "list", ""),
        ("deployment", "alice"),
        ("another deployment", "alice", "list", "byDate"),
        ("deploymentalice", "", "list", "byDate"),
    ],
)
def test_a_cursor_is_refused_in_any_other_scope(scope: tuple[str, ...]) -> None:
    with pytest.raises(ApiError, match="cursor must be") as error:
        decode(encode_cursor(POSITION, *SCOPE), *scope)
    assert (error.value.status, error.value.parameter) == (400, "cursor: string")


@given(
    cursor=st.text(min_size=1)
    | st.binary(min_size=1).map(lambda b: base64.urlsafe_b64encode(b).decode())
)
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ApiError):
        decode(cursor, *SCOPE)


def test_a_changed_payload_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = base64.urlsafe_b64decode(encode_cursor(POSITION, *SCOPE) + "==")[:16]
    payload = b'["18","2026-01-01 12:00:00 UTC"]'
    cursor = base64.urlsafe_b64encode(tag + payload).decode().rstrip("=")
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(ApiError):
        decode(cursor, *SCOPE)


def test_another_spelling_of_a_valid_cursor_is_refused() -> None:
    cursor = encode_cursor(POSITION, *SCOPE)
    for spelling in (
        f"{cursor}=",
        f"{cursor}==",
        f" {cursor}",
        f"{cursor}\n",
        f"{cursor[:5]}.{cursor[5:]}",
    ):
        with pytest.raises(ApiError):
            decode(spelling, *SCOPE)
