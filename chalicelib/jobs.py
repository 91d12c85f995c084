"""The job store: a user's jobs in DynamoDB, returned under the API's names."""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from chalicelib.config import Settings
from chalicelib.request import parameter_error

# An item or attribute as DynamoDB's JSON has it, e.g. {"jobId": {"N": "1"}}.
Item = dict[str, Any]


class Status(NamedTuple):
    """What a status means to the user, whether it is final, and whether its job has results."""

    meaning: str
    finished: bool = False
    has_results: bool = False


STATUSES = {
    "uploading": Status("Waiting for the files to be uploaded"),
    "queued": Status("Waiting in the queue to be processed"),
    "processing": Status("Being processed"),
    "success": Status("Job completed successfully", finished=True, has_results=True),
    "success_credits_restored": Status(
        "Job completed; the credits of the files that failed were given back",
        finished=True,
        has_results=True,
    ),
    "success_credits_not_restored": Status(
        "Job completed; the credits of the files that failed could not be given back yet",
        finished=True,
        has_results=True,
    ),
    "failed_requeued": Status("Processing failed; the job is queued again"),
    "failed": Status("Processing failed", finished=True),
    "failed_critical": Status("Processing failed; the team has been told", finished=True),
}
_UNKNOWN = Status("Unknown status")
_PROGRESS = re.compile(r"processing_(100|[0-9]{1,2})%")
# The precision of DynamoDB's numbers, and the size of its sort keys in UTF-8.
_WHOLE_NUMBER = re.compile("-?[0-9]{1,38}")
_MAX_KEY_BYTES = 1024
_ABSENT: Item = {}
# What is returned, by type, for an attribute that is absent or of another type.
_EMPTY: Item = {"S": None, "N": "0", "M": {}}


def list_jobs(
    db: Any, settings: Settings, user_id: str, position: list[str] | None, limit: int | None
) -> Iterator[Item]:
    """The user's jobs, newest first, base information only.

    Starts after the position, and yields up to limit + 1 jobs: the last one shows that more follow.
    Raises ApiError (503).
    """
    query: dict[str, Any] = {
        "TableName": settings.job_requests_table,
        "KeyConditionExpression": "userId = :user_id",
        "ExpressionAttributeValues": {":user_id": {"S": user_id}},
        # What the index holds and no more, so that a query of it never reads the table.
        "ProjectionExpression": "jobId, jobName, #date, contentLength, creditsSpent, #status",
        "ExpressionAttributeNames": {"#date": "date", "#status": "status"},
        "ScanIndexForward": False,
        "ConsistentRead": settings.job_list_consistent_read,
    }
    if settings.job_list_index:
        query["IndexName"] = settings.job_list_index
    if position:
        job_id, date = position
        query["ExclusiveStartKey"] = _key(user_id, job_id)
        if settings.job_list_index:
            query["ExclusiveStartKey"]["date"] = {"S": date}
    if limit is not None:
        query["Limit"] = limit + 1

    while True:
        page = db.query(**query)
        yield from page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        if limit is not None:
            query["Limit"] -= len(page["Items"])


def row(item: Item) -> str:
    """The job's base information, encoded."""
    # Filled in as text, with few calls, as a list may have 10,000 rows. % takes twice as long.
    try:
        name, date, status = item["jobName"]["S"], item["date"]["S"], item["status"]["S"]
        size, spent = item["contentLength"]["N"], item["creditsSpent"]["N"]
    except KeyError:  # An attribute is absent or of another type.
        name, date, status = (_value(item, each, "S") for each in ("jobName", "date", "status"))
        size, spent = (_value(item, each, "N") for each in ("contentLength", "creditsSpent"))
    return (
        f'{{"job_id":{item["jobId"]["N"]}'
        f',"job_name":{"null" if name is None else encode_basestring_ascii(name)}'
        f',"date":{"null" if date is None else encode_basestring_ascii(date)}'
        f',"total_size":{_encoded_size(size)}'
        f',"credits_spent":{spent if spent.isdecimal() else _encoded_fraction(spent)}'
        f",{_encoded_status(status)}}}"
    )


def position(item: Item) -> list[str]:
    """Where a list continues after this job: its sort keys in the table and in the index."""
    return [item["jobId"]["N"], item.get("date", _ABSENT).get("S", "")]


def is_position(texts: list[str], settings: Settings) -> bool:
    """Whether these are sort keys that DynamoDB accepts. Raises ValueError if they are not two."""
    job_id, date = texts
    is_date = not settings.job_list_index or 1 <= len(date.encode()) <= _MAX_KEY_BYTES
    return is_date and _WHOLE_NUMBER.fullmatch(job_id) is not None


def get_job(db: Any, settings: Settings, user_id: str, job_id: int) -> Item:
    """The job's whole item. Raises ApiError (404, 503)."""
    key = _key(user_id, job_id)
    found = db.get_item(TableName=settings.job_requests_table, Key=key, ConsistentRead=True)
    if "Item" not in found:
        raise parameter_error("job-id", "The job does not exist", 404)
    item: Item = found["Item"]
    return item


def delete_job(db: Any, settings: Settings, user_id: str, job_id: int) -> None:
    """Delete the job's item, if it exists. Raises ApiError (503)."""
    db.delete_item(TableName=settings.job_requests_table, Key=_key(user_id, job_id))


# An item to a text that changes if and only if the item does: DynamoDB returns a map's keys in any
# order. json.dumps would look for circles, which an item cannot have.
fingerprint: Callable[[Item], str] = json.JSONEncoder(sort_keys=True, check_circular=False).encode


def job_info(item: Item) -> dict[str, Any]:
    """The job in full, under the API's names."""
    names, lengths = _value(item, "objectUuidNames", "M"), _value(item, "mediaLength", "M")
    return {
        "user_id": _value(item, "userId", "S"),
        "job_id": _to_number(_value(item, "jobId", "N")),
        "job_name": _value(item, "jobName", "S"),
        "date": _value(item, "date", "S"),
        "total_size": int(_encoded_size(_value(item, "contentLength", "N"))),
        "credits_spent": _to_number(_value(item, "creditsSpent", "N")),
        "email": _value(item, "email", "S"),
        "object_uuid_names": {k: v.get("S", k) for k, v in names.items()},
        "media_length": {k: _to_number(v["N"]) for k, v in lengths.items() if "N" in v},
        "failed_to_process": {k: v.get("S", "") for k, v in _failures(item).items()},
        **status_members(_value(item, "status", "S")),
    }


def objects(item: Item) -> set[str]:
    """The names of the job's objects."""
    return set(_value(item, "objectUuidNames", "M"))


def objects_with_results(item: Item) -> set[str]:
    """The names of the objects that have results."""
    status = STATUSES.get(_value(item, "status", "S") or "", _UNKNOWN)
    return objects(item) - set(_failures(item)) if status.has_results else set()


def status_members(status: str | None) -> dict[str, Any]:
    """The status, in words for the user, as a percentage if it has one, and whether it is final."""
    match = _PROGRESS.fullmatch(status or "")
    progress = int(match[1]) if match else None
    known = STATUSES.get(status or "", _UNKNOWN)
    return {
        "status": status,
        "status_meaning": f"Being processed, {progress}% done" if match else known.meaning,
        "progress": progress,
        "finished": known.finished,
    }


@lru_cache(maxsize=1024)
def _encoded_fraction(text: str) -> str:
    return str(_to_number(text))


@lru_cache(maxsize=256)
def _encoded_status(status: str | None) -> str:
    return json.dumps(status_members(status), separators=(",", ":"))[1:-1]


def _key(user_id: str, job_id: int | str) -> Item:
    return {"userId": {"S": user_id}, "jobId": {"N": str(job_id)}}


def _value(item: Item, name: str, kind: str) -> Any:
    """The attribute's value if it has this type, else the type's empty value."""
    return item.get(name, _ABSENT).get(kind, _EMPTY[kind])


def _failures(item: Item) -> dict[str, Item]:
    """The reasons of the objects that failed; a list or a set of names has none."""
    match item.get("failedToProcess"):
        case {"L": list(names)}:
            return {name["S"]: _ABSENT for name in names if "S" in name}
        case {"SS": list(names)}:
            return dict.fromkeys(names, _ABSENT)
    reasons: dict[str, Item] = _value(item, "failedToProcess", "M")
    return reasons


def _encoded_size(text: str) -> str:
    return text if text.isdecimal() else str(max(0, int(Decimal(text))))


def _to_number(text: str) -> int | float:
    if text.isdecimal():
        return int(text)
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(text)
