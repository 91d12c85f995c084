"""The job store: a user's jobs in DynamoDB, by its own names in and by the API's names out."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from chalicelib.aws import Service
from chalicelib.config import Settings
from chalicelib.errors import JobNotFound

# An item or attribute as DynamoDB's JSON has it, e.g. {"jobId": {"N": "1"}}.
Item = dict[str, Any]

FINISHED = {"success", "success_credits_restored", "success_credits_not_restored"}
STATUS_MEANINGS = {
    "uploading": "Waiting for the files to be uploaded",
    "queued": "Waiting in the queue to be processed",
    "processing": "Being processed",
    "success": "Job completed successfully",
    "success_credits_restored": (
        "Job completed; the credits of the files that failed were given back"
    ),
    "success_credits_not_restored": (
        "Job completed; the credits of the files that failed could not be given back yet"
    ),
    "failed_requeued": "Processing failed; the job is queued again",
    "failed": "Processing failed",
    "failed_critical": "Processing failed; the team has been told",
}
_PROGRESS = re.compile(r"processing_([0-9]{1,3})%")
# job_info's members, with the attribute that each comes from, and its type.
_FIELDS = {
    "user_id": ("userId", "S"),
    "job_id": ("jobId", "N"),
    "job_name": ("jobName", "S"),
    "date": ("date", "S"),
    "total_size": ("contentLength", "N"),
    "credits_spent": ("creditsSpent", "N"),
    "email": ("email", "S"),
    "object_uuid_names": ("objectUuidNames", "M"),
    "media_length": ("mediaLength", "M"),
    "failed_to_process": ("failedToProcess", "M"),
    "status": ("status", "S"),
}
_ABSENT: Item = {}
_NOTHING: Item = {"S": None, "N": 0, "M": {}}


def list_jobs(
    db: Service, settings: Settings, user_id: str, after: list[str] | None, limit: int | None
) -> Iterator[Item]:
    """The user's jobs, newest first, base information only.

    They begin `after` a position, and go on to one more than `limit`: it tells whether anything
    follows. Raises Unavailable.
    """
    query: dict[str, Any] = {
        "TableName": settings.job_requests_table,
        "KeyConditionExpression": "userId = :user_id",
        "ExpressionAttributeValues": {":user_id": {"S": user_id}},
        # All that the index holds, so that a query by the index never goes to the table.
        "ProjectionExpression": "jobId, jobName, #date, contentLength, creditsSpent, #status",
        "ExpressionAttributeNames": {"#date": "date", "#status": "status"},
        "ScanIndexForward": False,
        "ConsistentRead": True,
    }
    if settings.job_list_index:
        query["IndexName"] = settings.job_list_index
    if after:
        query["ExclusiveStartKey"] = _key(user_id, after[0])
        if settings.job_list_index:
            query["ExclusiveStartKey"]["date"] = {"S": after[1]}
    if limit is not None:
        query["Limit"] = limit + 1

    while True:
        page = db("query", **query)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        if limit is not None:
            query["Limit"] -= len(page["Items"])


def row(item: Item) -> str:
    """The job's base information, as JSON text."""
    # Written as text, and without a call an attribute: a list may have 10,000 rows.
    get = item.get
    name, date = get("jobName", _ABSENT).get("S"), get("date", _ABSENT).get("S")
    return (
        f'{{"job_id":{get("jobId", _ABSENT).get("N", "0")}'
        f',"job_name":{"null" if name is None else encode_basestring_ascii(name)}'
        f',"date":{"null" if date is None else encode_basestring_ascii(date)}'
        f',"total_size":{_number_text(get("contentLength", _ABSENT).get("N", "0"))}'
        f',"credits_spent":{_number_text(get("creditsSpent", _ABSENT).get("N", "0"))}'
        f"{_status_members(get('status', _ABSENT).get('S'))}}}"
    )


def position(item: Item) -> list[str]:
    """Where a list goes on after the job: its sort keys, in the table and by the index."""
    return [item["jobId"]["N"], item.get("date", _ABSENT).get("S", "")]


def get_job(db: Service, settings: Settings, user_id: str, job_id: int) -> Item:
    """The job's whole item. Raises JobNotFound, Unavailable."""
    key = _key(user_id, job_id)
    answer = db("get_item", TableName=settings.job_requests_table, Key=key, ConsistentRead=True)
    if "Item" not in answer:
        raise JobNotFound("There is no job with this job-id", "job-id: number")
    item: Item = answer["Item"]
    return item


def delete_entry(db: Service, settings: Settings, user_id: str, job_id: int) -> None:
    """Delete the job's item, if it is there. Raises Unavailable."""
    db("delete_item", TableName=settings.job_requests_table, Key=_key(user_id, job_id))


def fingerprint(item: Item) -> str:
    """A text that changes when, and only when, the item does."""
    # DynamoDB promises no order of a map's keys.
    return json.dumps(item, sort_keys=True)


def job_info(item: Item) -> str:
    """The job in full, as JSON text."""
    info = {field: _value(item, name, kind) for field, (name, kind) in _FIELDS.items()}
    return json.dumps(info, separators=(",", ":"))


def objects_with_results(item: Item, after: str) -> list[str]:
    """The names, sorted and all after one, of the objects that have results by now."""
    if _value(item, "status", "S") not in FINISHED:
        return []
    failed = _value(item, "failedToProcess", "M")
    names = _value(item, "objectUuidNames", "M")
    return sorted(name for name in names if name > after and name not in failed)


def status_meaning(status: str | None) -> str:
    """What a status says to a person."""
    if progress := _PROGRESS.fullmatch(status or ""):
        return f"Being processed, {progress[1]}% done"
    return STATUS_MEANINGS.get(status or "", "Unknown status")


@lru_cache(maxsize=1024)
def _number_text(text: str) -> str:
    return str(_plain("N", text))


@lru_cache(maxsize=256)
def _status_members(status: str | None) -> str:
    return f',"status":{json.dumps(status)},"status_meaning":{json.dumps(status_meaning(status))}'


def _key(user_id: str, job_id: int | str) -> Item:
    return {"userId": {"S": user_id}, "jobId": {"N": str(job_id)}}


def _value(item: Item, name: str, kind: str) -> Any:
    """An attribute's value; what is absent, or of another type, reads as that type's nothing."""
    return _plain(kind, item.get(name, _ABSENT).get(kind, _NOTHING[kind]))


def _plain(kind: str, value: Any) -> Any:
    if kind == "N":
        try:
            return int(value)
        except ValueError:
            number = Decimal(value)
            return int(number) if number == number.to_integral_value() else float(number)
    if kind == "M":
        return {
            name: _plain(*inner) for name, attribute in value.items() for inner in attribute.items()
        }
    if kind == "L":
        return [_plain(*inner) for attribute in value for inner in attribute.items()]
    return None if kind == "NULL" else value
