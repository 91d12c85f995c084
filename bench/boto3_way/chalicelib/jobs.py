"""A job's item as the API's JSON has it, of the one status that the bench's jobs have.

A copy, as this app is packaged by itself. The bench refuses to compare different responses.
"""

WITH_RESULTS = FINAL = {"success"}
STATUS_MEANINGS = {"success": "Job completed successfully"}


def base_information(item):
    return {
        "job_id": number(item["jobId"]),
        "job_name": item.get("jobName"),
        "date": item["date"],
        "total_size": number(item["contentLength"]),
        "credits_spent": number(item["creditsSpent"]),
        **status_members(item["status"]),
    }


def job_info(item):
    return {
        "user_id": item["userId"],
        "email": item.get("email"),
        "object_uuid_names": item["objectUuidNames"],
        "media_length": {name: number(n) for name, n in item["mediaLength"].items()},
        "failed_to_process": item["failedToProcess"],
        **base_information(item),
    }


def status_members(status):
    progress = None
    meaning = STATUS_MEANINGS.get(status, "Unknown status")
    if status.startswith("processing_"):
        progress = int(status.removeprefix("processing_").removesuffix("%"))
        meaning = f"Being processed, {progress}% done"
    return {
        "status": status,
        "status_meaning": meaning,
        "progress": progress,
        "finished": status in FINAL,
    }


def number(value):
    return int(value) if value % 1 == 0 else float(value)
