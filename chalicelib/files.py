"""A job's files in S3: their keys, and the members of a response that are their URLs."""

from collections.abc import Callable
from json.encoder import encode_basestring_ascii


def job_prefix(user_id: str, job_id: int) -> str:
    """The prefix of the keys of all of the job's files.

    With the / at its end, the prefix of job 1 does not match the keys of job 10.
    """
    return f"{user_id}/{job_id}/"


def object_key(user_id: str, job_id: int, object_uuid: str) -> str:
    """The key of an uploaded file."""
    return job_prefix(user_id, job_id) + object_uuid


def result_member(sign: Callable[[str], str], prefix: str, object_uuid: str) -> str:
    """The object's member of `results`, encoded: the URLs of its two result files."""
    key = f"{prefix}results/{object_uuid}"
    # A URL is ASCII without quotes and backslashes, so it needs no escaping.
    urls = f'"full":"{sign(key + ".json")}","min":"{sign(key + ".min.json")}"'
    return encode_basestring_ascii(object_uuid) + ":{" + urls + "}"


def object_member(sign: Callable[[str], str], prefix: str, object_uuid: str) -> str:
    """The object's member of `object_urls`, encoded."""
    return f'{encode_basestring_ascii(object_uuid)}:"{sign(prefix + object_uuid)}"'
