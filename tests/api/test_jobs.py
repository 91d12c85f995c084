"""chalicelib/jobs.py on moto: what is read, how it is read, what it reads as."""

import json
import re
import runpy
from decimal import Decimal
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import jobs, paging, response
from chalicelib.config import Settings
from chalicelib.errors import ApiError
from dev import demo
from tests.support import ROOT
from tests.support.events import ALICE, BOB
from tests.support.moto_aws import Aws

Rows = list[dict[str, Any]]


def list_jobs(
    db: Any, settings: Settings, after: list[str] | None = None, limit: int | None = None
) -> tuple[Rows, list[str] | None]:
    items = jobs.list_jobs(db, settings, ALICE, after, limit)
    rows, position = paging.fill_page(items, jobs.row, paging.escaped_bytes, jobs.position, limit)
    return [json.loads(row) for row in rows], position


class Recorder:
    """Passes requests on, and keeps them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.requests: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Any:
        def send(**request: Any) -> Any:
            self.requests.append({"operation": operation, **request})
            response = getattr(self.client, operation)(**request)
            self.responses.append(response)
            return response

        return send


def test_a_row_has_the_base_information_and_what_the_status_means(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    emulated.put_job(
        ALICE,
        1,
        jobName="Job Name",
        date="2020-01-01 12:00:00.000000000 UTC",
        contentLength=10240,
        creditsSpent=Decimal("1.5"),
        status="success",
        email="alice@example.com",
    )
    assert list_jobs(db, settings) == (
        [
            {
                "job_id": 1,
                "job_name": "Job Name",
                "date": "2020-01-01 12:00:00.000000000 UTC",
                "total_size": 10240,
                "credits_spent": 1.5,
                "status": "success",
                "status_meaning": "Job completed successfully",
                "progress": None,
                "finished": True,
            }
        ],
        None,
    )


def test_an_item_may_lack_everything_but_its_key_and_date(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    emulated.put_job(ALICE, 1, date="2020")
    [row], _ = list_jobs(db, settings)
    assert row == {
        "job_id": 1,
        "job_name": None,
        "date": "2020",
        "total_size": 0,
        "credits_spent": 0,
        "status": None,
        "status_meaning": "Unknown status",
        "progress": None,
        "finished": False,
    }
    recorder = Recorder(db)
    info = jobs.job_info(jobs.get_job(recorder, settings, ALICE, 1))
    # A job that has just been deleted or finished is not returned as it was.
    assert recorder.requests[0]["ConsistentRead"] is True
    assert info == {
        "user_id": ALICE,
        "job_id": 1,
        "job_name": None,
        "date": "2020",
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


def test_the_list_is_newest_first_by_date_through_the_index_and_by_id_from_the_table(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    for job_id, date in ((1, "2020-03"), (2, "2020-01"), (3, "2020-02")):
        emulated.put_job(ALICE, job_id, date=date)
    rows, _ = list_jobs(db, settings)
    assert [row["job_id"] for row in rows] == [1, 3, 2]
    rows, _ = list_jobs(db, settings._replace(job_list_index=""))
    assert [row["job_id"] for row in rows] == [3, 2, 1]


def test_an_item_without_a_date_is_listed_only_from_the_table(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    emulated.table.put_item(Item={"userId": ALICE, "jobId": 1})
    assert list_jobs(db, settings)[0] == []
    [row], _ = list_jobs(db, settings._replace(job_list_index=""))
    assert (row["job_id"], row["date"]) == (1, None)


def test_the_list_shows_nobody_elses_jobs(db: Any, emulated: Aws, settings: Settings) -> None:
    emulated.put_job(BOB, 1)
    assert list_jobs(db, settings) == ([], None)


def test_jobs_without_a_date_are_paged_from_the_table(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    for job_id in (1, 2):
        emulated.table.put_item(Item={"userId": ALICE, "jobId": job_id})
    settings = settings._replace(job_list_index="")
    [first], position = list_jobs(db, settings, limit=1)
    [second], end = list_jobs(db, settings, position, limit=1)
    assert (first["job_id"], second["job_id"], end) == (2, 1, None)


def test_the_list_follows_every_page(db: Any, emulated: Aws, settings: Settings) -> None:
    with emulated.table.batch_writer() as batch:
        for job_id in range(1, 31):
            item = {"userId": ALICE, "jobId": job_id, "date": f"2026-{job_id:03}"}
            # moto counts the whole item where DynamoDB counts the projection; 1 MB is a page.
            batch.put_item(item | {"jobName": "n" * 100, "filesPath": "x" * 100_000})
    recorder = Recorder(db)
    rows, end = list_jobs(recorder, settings)
    assert [row["job_id"] for row in rows] == list(range(30, 0, -1))
    assert end is None
    assert len(recorder.requests) == 4


@pytest.mark.parametrize("index", ["byDate", ""])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 1000])
def test_pages_of_any_limit_give_every_job_once_and_end(
    limit: int, index: str, db: Any, emulated: Aws, settings: Settings
) -> None:
    for job_id in range(1, 7):
        # Two jobs of one date: the position needs both sort keys.
        emulated.put_job(ALICE, job_id, date=f"2026-{job_id // 2}")
    here = settings._replace(job_list_index=index)
    seen: list[int] = []
    after = None
    while True:
        rows, after = list_jobs(db, here, after, limit)
        seen += [row["job_id"] for row in rows]
        assert len(rows) == limit or after is None
        if after is None:
            break
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]


def test_a_limit_is_reached_over_several_pages(db: Any, emulated: Aws, settings: Settings) -> None:
    with emulated.table.batch_writer() as batch:
        for job_id in range(1, 16):
            item = {"userId": ALICE, "jobId": job_id, "date": f"2026-{job_id:03}"}
            batch.put_item(item | {"jobName": "n", "filesPath": "x" * 200_000})
    recorder = Recorder(db)
    rows, end = list_jobs(recorder, settings, limit=12)
    assert [row["job_id"] for row in rows] == list(range(15, 3, -1))
    assert end is not None
    assert [request["Limit"] for request in recorder.requests] == [13, 9, 5, 1]


def test_the_list_ends_before_a_row_that_no_longer_fits_and_goes_on_with_it(
    db: Any, emulated: Aws, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job_id in (1, 2, 3):
        emulated.put_job(ALICE, job_id)
    texts = [jobs.row(item) for item in jobs.list_jobs(db, settings, ALICE, None, None)]
    monkeypatch.setattr(paging, "MAX_BYTES_OF_ROWS", len(json.dumps("".join(texts[:2]))))
    rows, end = list_jobs(db, settings)
    assert [row["job_id"] for row in rows] == [3, 2]
    rows, end = list_jobs(db, settings, end)
    assert [row["job_id"] for row in rows] == [1]
    assert end is None


def test_the_list_requests_what_the_index_projects_and_nothing_else(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    """An attribute beyond the projection would be read, and paid for, from the table."""
    recorder = Recorder(db)
    list_jobs(recorder, settings)
    [request] = recorder.requests
    names = request["ExpressionAttributeNames"]
    requested = {names.get(name, name) for name in request["ProjectionExpression"].split(", ")}
    client = boto3.client("dynamodb", region_name="eu-central-1")
    [index] = client.describe_table(TableName=settings.job_requests_table)["Table"][
        "LocalSecondaryIndexes"
    ]
    held = {key["AttributeName"] for key in index["KeySchema"]} | {"jobId"}
    held |= set(index["Projection"]["NonKeyAttributes"])
    assert index["IndexName"] == request["IndexName"]
    assert requested == held - {"userId"}
    assert request["ConsistentRead"] is True
    list_jobs(recorder, settings._replace(job_list_consistent_read=False))
    assert recorder.requests[1] == request | {"ConsistentRead": False}
    assert request["ScanIndexForward"] is False


def test_another_users_job_is_missing_like_one_that_never_was(
    db: Any, emulated: Aws, settings: Settings
) -> None:
    emulated.put_job(BOB, 1)
    for job_id in (1, 2):
        with pytest.raises(ApiError, match="does not exist"):
            jobs.get_job(db, settings, ALICE, job_id)


def test_deleting_an_entry_leaves_every_other(db: Any, emulated: Aws, settings: Settings) -> None:
    for user_id, job_id in ((ALICE, 1), (ALICE, 10), (BOB, 1)):
        emulated.put_job(user_id, job_id)
    jobs.delete_job(db, settings, ALICE, 1)
    jobs.delete_job(db, settings, ALICE, 1)
    left = {(item["userId"], item["jobId"]) for item in emulated.table.scan()["Items"]}
    assert left == {(ALICE, 10), (BOB, 1)}


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


@pytest.mark.parametrize("document", ["openapi.yaml", "docs/operations.md"])
def test_a_documents_table_of_statuses_is_the_stores(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
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


def test_the_bench_and_the_store_know_the_same_statuses() -> None:
    copy = runpy.run_path(str(ROOT / "bench/boto3_way/chalicelib/jobs.py"))
    for name, status in jobs.STATUSES.items():
        assert copy["status_members"](name) == jobs.status_members(name)
        assert (name in copy["WITH_RESULTS"]) == status.has_results


def test_there_is_a_demo_job_of_every_status_with_results_where_it_has_some() -> None:
    statuses = {job.status for job in demo.JOBS.values()}
    assert statuses == {*jobs.STATUSES, "processing_40%", "archived_by_hand"}
    for job_id, job in demo.JOBS.items():
        item, objects = demo.job_data(ALICE, job_id, job)
        stored = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        results = {key.split("/results/")[1] for key, _ in objects if "/results/" in key}
        names = jobs.objects_with_results(stored)
        assert results == {f"{name}.{kind}json" for name in names for kind in ("", "min.")}


@pytest.mark.parametrize("status", ["processing_x%", "processing_40%\n", "", None])
def test_any_other_status_is_unknown_and_not_final(status: str | None) -> None:
    members = jobs.status_members(status)
    assert (members["status_meaning"], members["finished"]) == ("Unknown status", False)


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
        ("processing", None),
        ("success", None),
        (None, None),
    ],
)
def test_progress_is_the_percentage_of_a_status(status: str | None, progress: int | None) -> None:
    members = jobs.status_members(status)
    assert members["progress"] == progress
    if progress is not None:
        expected = (f"Being processed, {progress}% done", False)
        assert (members["status_meaning"], members["finished"]) == expected


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
    "failed",
    [
        {"L": [{"S": "b.png"}, {"NULL": True}, {"N": "1"}, {"L": []}]},
        {"SS": ["b.png"]},
        {"M": {"b.png": {"NULL": True}}},
    ],
    ids=["list", "set", "map"],
)
def test_failed_objects_are_named_by_a_map_a_list_or_a_set(failed: dict[str, Any]) -> None:
    item = {
        "status": {"S": "success"},
        "objectUuidNames": {"M": {"a.png": {"S": "a"}, "b.png": {"S": "b"}}},
        "failedToProcess": failed,
    }
    assert jobs.job_info(item)["failed_to_process"] == {"b.png": ""}
    assert jobs.objects_with_results(item) == {"a.png"}


@pytest.mark.parametrize("failed", [{"N": "1"}, {"S": "b.png"}, {"NULL": True}, {"NS": ["1"]}])
def test_failed_objects_of_any_other_type_are_none(failed: dict[str, Any]) -> None:
    assert jobs.job_info({"failedToProcess": failed})["failed_to_process"] == {}


@pytest.mark.parametrize(
    ("stored", "size"),
    [("10.9", 10), ("0.1", 0), ("-3", 0), ("-0.5", 0), ("1E+3", 1000), ("1.5E+1", 15)],
)
def test_a_size_is_rounded_down_and_not_negative(stored: str, size: int) -> None:
    item = {"jobId": {"N": "1"}, "contentLength": {"N": stored}}
    for found in (jobs.job_info(item), json.loads(jobs.row(item))):
        assert (found["total_size"], type(found["total_size"])) == (size, int)


@given(name=st.text(), date=st.text(), status=st.text())
def test_a_row_is_json_with_any_texts(name: str, date: str, status: str) -> None:
    item = {
        "jobId": {"N": "1"},
        "jobName": {"S": name},
        "date": {"S": date},
        "status": {"S": status},
    }
    row = jobs.row(item)
    assert row.isascii()
    read = json.loads(row)
    assert (read["job_name"], read["date"], read["status"]) == (name, date, status)


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
def test_a_row_written_as_text_says_what_the_whole_job_says(item: dict[str, Any]) -> None:
    row, whole = jobs.row(item), jobs.job_info(item)
    assert row == response.encode({name: whole[name] for name in json.loads(row)})
