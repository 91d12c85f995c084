"""AWS in the process, by moto: what the API uses, and helpers to look behind it."""

from decimal import Decimal
from typing import Any, NamedTuple

from dev.emulated_aws import BUCKET
from tests.support.events import ALICE

NAMES = {"b.png": "Grüße.png", "a.png": "東京.png", "broken.png": "x.png"}


class Aws(NamedTuple):
    table: Any
    s3: Any

    def put_job(self, user_id: str, job_id: int, **attributes: Any) -> None:
        date = f"2026-01-01 00:00:{job_id:09} UTC"
        self.table.put_item(Item={"userId": user_id, "jobId": job_id, "date": date} | attributes)

    def put_finished_job(self, job_id: int = 1, **attributes: Any) -> None:
        """A finished job of Alice: each attribute is there, and one of three files has failed."""
        finished = {
            "status": "success",
            "jobName": "Job Name",
            "contentLength": 5020,
            "creditsSpent": Decimal("2.5"),
            "email": "alice@example.com",
            "objectUuidNames": NAMES,
            "mediaLength": dict.fromkeys(NAMES, 1),
            "failedToProcess": {"broken.png": "No image"},
        }
        self.put_job(ALICE, job_id, **finished | attributes)

    def put_objects(self, *keys: str) -> None:
        for key in keys:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"content")

    def versions(self) -> list[str]:
        """The keys of all versions and delete markers."""
        page = self.s3.list_object_versions(Bucket=BUCKET)
        return sorted(v["Key"] for v in page.get("Versions", []) + page.get("DeleteMarkers", []))
