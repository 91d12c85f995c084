"""chalicelib/jobs.py on moto: what is read, how it is read, what it reads as."""

import json
import re
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import jobs, paging, response
from chalicelib.config import Settings
from dev import demo
from tests.support import ROOT
from tests.support.events import ALICE
from tests.support.moto_aws import Aws


def list_jobs(
    db: Any, settings: Settings, after: list[str] | None = None, limit: int | None = None
) -> tuple[list[dict[str, Any]], list[str] | None]:
    items = jobs.list_jobs(db, settings, ALICE, after, limit)
    rows, position = paging.fill_page(items, jobs.row, paging.escaped_bytes, jobs.position, limit)
    return [json.loads(row) for row in rows], position


def test_a_job_without_a_date_or_anything_but_its_key_is_shown_but_not_listed_by_date(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    emulated.table.put_item(Item={"userId": ALICE, "jobId": 1})
    recorder = Mock(wraps=db)
    info = jobs.job_info(jobs.get_job(recorder, settings, ALICE, 1))
    # A job that has just been deleted or finished is not returned as it was.
    assert recorder.get_item.call_args.kwargs["ConsistentRead"] is True
    assert info == {
        "user_id": ALICE,
        "job_id": 1,
        "job_name": None,
        "date": None,
        "total_size": 0,
        "credits_spent": 0,
        "email": None,
        "object_uuid_names": {},
        "media_length": {},
        "failed_to_process": {},
        "status": None,
        "status_meaning": "Unknown status",
        "progress": None,
        "finished": False,
    }
    assert list_jobs(db, settings) == ([], None)
    [row], _ = list_jobs(db, settings._replace(job_list_index=""))
    assert row == {name: info[name] for name in row}


def test_the_list_is_newest_first_by_date_through_the_index_and_by_id_from_the_table(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    for job_id, date in ((1, "2020-03"), (2, "2020-01"), (3, "2020-02")):
        emulated.put_job(ALICE, job_id, date=date)
    rows, _ = list_jobs(db, settings)
    assert [row["job_id"] for row in rows] == [1, 3, 2]
    rows, _ = list_jobs(db, settings._replace(job_list_index=""))
    assert [row["job_id"] for row in rows] == [3, 2, 1]


@pytest.mark.parametrize(("limit", "limits"), [(None, [None] * 4), (12, [13, 9, 5, 1])])
def test_the_list_follows_every_page_up_to_its_limit(
    limit: int | None, limits: list[int | None], db: Any, emulated: Aws, settings: Settings
) -> None:
    with emulated.table.batch_writer() as batch:
        for job_id in range(1, 16):
            item = {"userId": ALICE, "jobId": job_id, "date": f"2026-{job_id:03}"}
            # moto counts the whole item where DynamoDB counts the projection; 1 MB is a page.
            batch.put_item(item | {"jobName": "n", "filesPath": "x" * 200_000})
    recorder = Mock(wraps=db)
    rows, end = list_jobs(recorder, settings, limit=limit)
    assert [row["job_id"] for row in rows] == list(range(15, 0, -1))[:limit]
    assert (end is None) == (limit is None)
    assert [call.kwargs.get("Limit") for call in recorder.method_calls] == limits


def test_the_list_requests_what_the_index_projects_and_nothing_else(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    """An attribute beyond the projection would be read, and paid for, from the table."""
    recorder = Mock(wraps=db)
    list_jobs(recorder, settings)
    [(_, _, request)] = recorder.method_calls
    names = request["ExpressionAttributeNames"]
    requested = {names.get(name, name) for name in request["ProjectionExpression"].split(", ")}
    [index] = emulated.table.local_secondary_indexes
    held = {key["AttributeName"] for key in index["KeySchema"]} | {"jobId"}
    held |= set(index["Projection"]["NonKeyAttributes"])
    assert index["IndexName"] == request["IndexName"]
    assert requested == held - {"userId"}
    assert request["ConsistentRead"] is True
    list_jobs(recorder, settings._replace(job_list_consistent_read=False))
    assert recorder.query.call_args.kwargs == request | {"ConsistentRead": False}


def test_a_fingerprint_does_not_depend_on_the_order_of_a_maps_keys() -> None:
    one = {"jobId": {"N": "1"}, "mediaLength": {"M": {"a": {"N": "1"}, "b": {"N": "2"}}}}
    same = {"mediaLength": {"M": {"b": {"N": "2"}, "a": {"N": "1"}}}, "jobId": {"N": "1"}}
    other = {"jobId": {"N": "1"}, "mediaLength": {"M": {"a": {"N": "2"}, "b": {"N": "1"}}}}
    assert jobs.fingerprint(one) == jobs.fingerprint(same)
    assert jobs.fingerprint(one) != jobs.fingerprint(other)


@pytest.mark.parametrize("status", [*jobs.STATUSES, "processing_99%", "anything", None])
def test_results_are_of_what_did_not_fail_if_the_status_has_results(status: str | None) -> None:
    item: dict[str, Any] = {
        "objectUuidNames": {"M": {name: {"S": "x"} for name in ("c.png", "b.png", "a.png")}},
        "failedToProcess": {"M": {"b.png": {"S": "broken"}}},
        "status": {"S": status} if status else {"NULL": True},
    }
    has_results = status in jobs.STATUSES and jobs.STATUSES[status].has_results
    assert jobs.objects_with_results(item) == ({"a.png", "c.png"} if has_results else set())
    assert jobs.objects(item) == {"a.png", "b.png", "c.png"}


def test_the_documented_table_of_statuses_is_the_stores() -> None:
    text = (ROOT / "openapi.yaml").read_text("utf-8")
    _, _, table = text.partition("| status | status_meaning | finished | results |\n")
    [lines] = re.findall(r"\A *\|[-|]+\n((?: *\|.*\n)+)", table)
    documented = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()]
    expected = []
    for status in (*jobs.STATUSES, "processing_N%", "anything else"):
        members = jobs.status_members(status.replace("N%", "7%"))
        has_results = status in jobs.STATUSES and jobs.STATUSES[status].has_results
        flags = ["yes" if flag else "" for flag in (members["finished"], has_results)]
        expected.append([status, members["status_meaning"].replace("7%", "N%"), *flags])
    assert sorted(documented) == sorted(expected)


def test_there_is_a_demo_job_of_every_status_with_results_where_it_has_some() -> None:
    statuses = {job.status for job in demo.JOBS.values()}
    assert statuses == {*jobs.STATUSES, "processing_40%", "archived_by_hand"}
    for job_id, job in demo.JOBS.items():
        item, objects = demo.job_data(ALICE, job_id, job)
        stored = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        results = {key.split("/results/")[1] for key, _ in objects if "/results/" in key}
        names = jobs.objects_with_results(stored)
        assert results == {f"{name}.{kind}json" for name in names for kind in ("", "min.")}


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("processing_0%", 0),
        ("processing_40%", 40),
        ("processing_100%", 100),
        ("processing_101%", None),
        ("processing_1000%", None),
        ("processing_-1%", None),
        ("processing_4.5%", None),
        ("processing_٤%", None),
        ("processing_x%", None),
        ("processing_40%\n", None),
        ("", None),
        (None, None),
    ],
)
def test_progress_is_the_percentage_of_a_status(status: str | None, progress: int | None) -> None:
    members = jobs.status_members(status)
    meaning = "Unknown status" if progress is None else f"Being processed, {progress}% done"
    assert (members["progress"], members["status_meaning"]) == (progress, meaning)
    assert not members["finished"]


@pytest.mark.parametrize(
    ("stored", "number"),
    [
        ("0", 0),
        ("10240", 10240),
        ("-3", -3),
        ("0.5", 0.5),
        ("2.50", 2.5),
        ("3.0", 3),
        ("1E+3", 1000),
        ("1E-7", 1e-07),
        ("12345678901234567890123456789012345678", 12345678901234567890123456789012345678),
    ],
)
def test_whole_numbers_are_integers_and_others_are_not(stored: str, number: float) -> None:
    info = jobs.job_info({"creditsSpent": {"N": stored}})
    assert info["credits_spent"] == number
    assert type(info["credits_spent"]) is type(number)


# Values as DynamoDB holds them, beyond what the contract names.
VALUES = st.recursive(
    st.builds(lambda text: {"S": text}, st.text())
    | st.builds(lambda number: {"N": str(number)}, st.integers(-(10**30), 10**30))
    | st.builds(lambda flag: {"BOOL": flag}, st.booleans())
    | st.just({"NULL": True}),
    lambda inner: (
        st.builds(lambda items: {"L": items}, st.lists(inner, max_size=3))
        | st.builds(lambda items: {"M": items}, st.dictionaries(st.text(), inner, max_size=3))
    ),
    max_leaves=10,
)


@given(attributes=st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_map_has_values_of_its_one_type_whatever_is_stored(attributes: dict[str, Any]) -> None:
    stored = TypeDeserializer().deserialize({"M": attributes})
    names = ("objectUuidNames", "mediaLength", "failedToProcess")
    info = jobs.job_info({name: {"M": attributes} for name in names})
    texts = {name: value for name, value in stored.items() if isinstance(value, str)}
    assert info["object_uuid_names"] == {name: texts.get(name, name) for name in stored}
    assert info["failed_to_process"] == {name: texts.get(name, "") for name in stored}
    numbers = {name: value for name, value in stored.items() if isinstance(value, Decimal)}
    assert info["media_length"] == numbers


@pytest.mark.parametrize(
    ("failed", "names"),
    [
        ({"L": [{"S": "b.png"}, {"NULL": True}, {"N": "1"}, {"L": []}]}, {"b.png"}),
        ({"SS": ["b.png"]}, {"b.png"}),
        ({"M": {"b.png": {"NULL": True}}}, {"b.png"}),
        ({"N": "1"}, set()),
        ({"S": "b.png"}, set()),
        ({"NULL": True}, set()),
        ({"NS": ["1"]}, set()),
    ],
)
def test_failed_objects_are_named_by_a_map_a_list_or_a_set_and_nothing_else(
    failed: dict[str, Any], names: set[str]
) -> None:
    item = {
        "status": {"S": "success"},
        "objectUuidNames": {"M": {"a.png": {"S": "a"}, "b.png": {"S": "b"}}},
        "failedToProcess": failed,
    }
    assert jobs.job_info(item)["failed_to_process"] == dict.fromkeys(names, "")
    assert jobs.objects_with_results(item) == {"a.png", "b.png"} - names


@pytest.mark.parametrize(
    ("stored", "size"),
    [("10.9", 10), ("0.1", 0), ("-3", 0), ("-0.5", 0), ("1E+3", 1000), ("1.5E+1", 15)],
)
def test_a_size_is_rounded_down_and_not_negative(stored: str, size: int) -> None:
    item = {"jobId": {"N": "1"}, "contentLength": {"N": stored}}
    for found in (jobs.job_info(item), json.loads(jobs.row(item))):
        assert (found["total_size"], type(found["total_size"])) == (size, int)


NUMBERS = st.sampled_from(["0", "7", "-3", "0.5", "3.0", "1E+3", "1E-7", "9" * 38]).map(
    lambda number: {"N": number}
)
TEXTS = st.builds(lambda text: {"S": text}, st.text())


@given(
    item=st.fixed_dictionaries(
        {"jobId": st.just({"N": "1"})},
        optional={
            "jobName": TEXTS | st.just({"NULL": True}),
            "date": TEXTS,
            "contentLength": NUMBERS,
            "creditsSpent": NUMBERS | st.just({"NULL": True}),
            "status": TEXTS,
        },
    )
)
def test_a_job_in_the_list_says_what_the_whole_job_says(item: dict[str, Any]) -> None:
    row, whole = jobs.row(item), jobs.job_info(item)
    assert row == response.encode({name: whole[name] for name in json.loads(row)})
