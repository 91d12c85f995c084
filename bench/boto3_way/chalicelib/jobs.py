"""A job's item as the API's JSON has it: a copy, as this app is packaged by itself."""

WITH_RESULTS = {"success", "success_credits_restored", "success_credits_not_restored"}
FINAL = WITH_RESULTS | {"failed", "failed_critical"}
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
        "job_id": number(item["jobId"]),
        "job_name": item.get("jobName"),
        "date": item["date"],
        "total_size": number(item["contentLength"]),
        "credits_spent": number(item["creditsSpent"]),
        "email": item.get("email"),
        "object_uuid_names": item["objectUuidNames"],
        "media_length": {name: number(n) for name, n in item["mediaLength"].items()},
        "failed_to_process": item["failedToProcess"],
        **status_members(item["status"]),
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
