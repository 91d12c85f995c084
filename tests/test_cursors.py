"""chalicelib/cursors.py: opaque, and only good for whom and what they were given."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cursors import decode_cursor, encode_cursor
from chalicelib.errors import BadParameter

POSITION = ["17", "2026-01-01 12:00:00 UTC"]
BOUND_TO = ("alice", "list", "byDate")


@given(position=st.lists(st.text(), max_size=3), bound_to=st.lists(st.text(), max_size=3))
def test_a_cursor_leads_back_to_its_position(position: list[str], bound_to: list[str]) -> None:
    cursor = encode_cursor(position, "secret", *bound_to)
    assert decode_cursor(cursor, "secret", *bound_to) == position


def test_a_cursor_holds_no_user_id() -> None:
    cursor = encode_cursor(POSITION, "secret", *BOUND_TO)
    assert b"alice" not in base64.urlsafe_b64decode(cursor + "==")


@pytest.mark.parametrize(
    "bound_to",
    [("bob", "list", "byDate"), ("alice", "get", "byDate"), ("alice", "list", ""), ("alice",)],
)
def test_a_cursor_is_refused_to_another_caller_and_for_another_request(
    bound_to: tuple[str, ...],
) -> None:
    cursor = encode_cursor(POSITION, "secret", *BOUND_TO)
    with pytest.raises(BadParameter, match="cursor must be") as error:
        decode_cursor(cursor, "secret", *bound_to)
    assert error.value.parameter == "cursor: string"


@given(cursor=st.text() | st.binary().map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadParameter):
        decode_cursor(cursor, "secret", *BOUND_TO)


@pytest.mark.parametrize(
    "position",
    [[], {}, None, 1, "x", float("nan"), [["deep"]] * 3, ["18", POSITION[1]]],
    ids=repr,
)
def test_a_changed_position_is_refused(position: object) -> None:
    whole = base64.urlsafe_b64decode(encode_cursor(POSITION, "secret", *BOUND_TO) + "==")
    changed = whole[:16] + json.dumps(position).encode()
    with pytest.raises(BadParameter):
        decode_cursor(base64.urlsafe_b64encode(changed).decode(), "secret", *BOUND_TO)


def test_another_spelling_of_a_good_cursor_is_refused() -> None:
    cursor = encode_cursor(POSITION, "secret", *BOUND_TO)
    for spelling in (
        f"{cursor}=",
        f"{cursor}==",
        f" {cursor}",
        f"{cursor}\n",
        f"{cursor[:5]}.{cursor[5:]}",
    ):
        with pytest.raises(BadParameter):
            decode_cursor(spelling, "secret", *BOUND_TO)


def test_a_deeply_nested_cursor_is_refused() -> None:
    nested = base64.urlsafe_b64encode(b"\0" * 16 + b"[" * 100_000).decode()
    with pytest.raises(BadParameter):
        decode_cursor(nested, "secret", *BOUND_TO)
