"""The jobs API: what each of the four routes does. Each step is one hop away, in chalicelib/."""

import os
import sys
import time
from functools import partial

from chalice.app import Chalice, CognitoUserPoolAuthorizer, CORSConfig, Response

from chalicelib import aws, edge
from chalicelib.call import Call
from chalicelib.config import check_policy, load_settings

# Chalice's commands import the app too: what would fail halfway through them fails here.
words = sys.argv if "AWS_CHALICE_CLI_MODE" in os.environ else []
command = next((word for word in words if word in ("deploy", "local", "package")), "")
settings = load_settings(os.environ, placeholders=command == "package")
if command == "deploy":
    check_policy(".chalice/policy-prod.json")
if command == "local":
    aws.region(settings)
    aws.credentials()

edge.configure_log(settings.log_level)

app = Chalice(app_name="jobs-api", configure_logs=False)
app.api.cors = CORSConfig(
    allow_origin=settings.allowed_origin,
    allow_headers=["Authorization", "If-None-Match"],
    expose_headers=["ETag", "Retry-After"],
    max_age=600,
)
app.register_middleware(edge.answer_all(app.api.cors), "http")
users = CognitoUserPoolAuthorizer("Users", provider_arns=[settings.user_pool_arn])
handles = partial(edge.handles, app, settings.user_pool_arn + settings.job_requests_table)

# A view imports what it needs by itself: a new Lambda instance answers the sooner for it.


@app.route("/jobs/list", methods=["GET"], authorizer=users, content_types=[])
@handles
def list_jobs(call: Call) -> Response:
    """Every job of the caller, newest first, base information only."""
    from chalicelib import jobs

    request = ("list", settings.job_list_index)
    after, limit = call.position(*request), call.limit()
    db = aws.service("dynamodb", settings, call.seconds_left)
    items = jobs.list_jobs(db, settings, call.user_id, after, limit)
    rows, last = edge.page(items, jobs.row, limit)
    call.log["jobs"] = len(rows)
    end = jobs.position(*last) if last else []
    body = f'{{"jobs":[{",".join(rows)}]{call.next_cursor(end, *request)}}}'
    etag = edge.etag(body)
    if call.has(etag):
        return edge.answer("", etag, 304)
    return edge.answer(body, etag)


@app.route("/jobs/get", methods=["GET"], authorizer=users, content_types=[])
@handles
def get_job(call: Call) -> Response:
    """One job in full, with presigned URLs of its results once it is finished."""
    from chalicelib import files, jobs, urls

    job_id = call.job_id()
    request = ("get", str(job_id))
    [after] = call.position(*request) or [""]
    db = aws.service("dynamodb", settings, call.seconds_left)
    item = jobs.get_job(db, settings, call.user_id, job_id)
    signed_at = urls.window_start(time.time(), settings)
    etag = edge.etag(jobs.fingerprint(item), after, str(signed_at))
    if call.has(etag):
        return edge.answer("", etag, 304)
    job_info = jobs.job_info(item)
    sign = urls.signer(settings, aws.region(settings), aws.credentials(), signed_at)
    names = jobs.objects_with_results(item, after)
    result = partial(files.result, sign, files.job_prefix(call.user_id, job_id))
    results, end = edge.page(names, result, beside=job_info)
    call.log["urls"] = 2 * len(results)
    body = f'{{"job_info":{job_info},"results":{{{",".join(results)}}}'
    return edge.answer(f"{body}{call.next_cursor(end, *request)}}}", etag)


@app.route("/jobs/get-object-url", methods=["GET"], authorizer=users, content_types=[])
@handles
def get_object_url(call: Call) -> Response:
    """A presigned URL of one object, composed without asking AWS; the object may not exist."""
    from chalicelib import files, urls

    key = files.object_key(call.user_id, call.job_id(), call.object_uuid())
    download_as = call.download_as()
    signed_at = urls.window_start(time.time(), settings)
    sign = urls.signer(settings, aws.region(settings), aws.credentials(), signed_at)
    call.log["urls"] = 1
    return edge.answer(f'{{"url":"{sign(key, download_as)}"}}')


@app.route("/jobs/delete", methods=["DELETE"], authorizer=users)
@handles
def delete_job(call: Call) -> Response:
    """Remove every file of a job, then its entry, so that no file outlives its entry."""
    from chalicelib import files, jobs

    job_id = call.job_id()
    prefix = files.job_prefix(call.user_id, job_id)
    s3 = aws.service("s3", settings, call.seconds_left)
    files.delete_files(s3, settings.job_files_bucket, prefix, call.log)
    db = aws.service("dynamodb", settings, call.seconds_left)
    jobs.delete_entry(db, settings, call.user_id, job_id)
    return edge.answer('{"message":"Ok"}')
