"""The jobs API: its four routes. What they use is in chalicelib/."""

import gc
import os
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import cast

from chalice.app import CognitoUserPoolAuthorizer, CORSConfig, Request, Response

if "AWS_CHALICE_CLI_MODE" in os.environ:
    # `chalice local`, `deploy` and `package` import the app; for `local` this does not return.
    from dev.chalice_cli import prepare

    prepare()

from chalicelib import api, aws, paging, response
from chalicelib.config import load_settings
from chalicelib.request import JobsRequest

# Run the garbage collector less often: a list of 10,000 jobs makes 70,000 dicts, none of them in a
# cycle, and with Python's default threshold it walks them again and again.
gc.set_threshold(100_000)
settings = load_settings(os.environ)
api.configure_log(settings.log_level)
if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:  # In Lambda: for instances started ahead.
    aws.botocore_client(settings, "dynamodb", aws.FIRST_READ_SECONDS["dynamodb"])

app = api.JobsApi(app_name="jobs-api", configure_logs=False)
app.api.cors = CORSConfig(
    allow_origin=settings.allowed_origin,
    allow_headers=["Authorization", "If-None-Match"],
    expose_headers=["ETag", "Retry-After", "X-Request-Id"],
    max_age=600,
)
# No body is binary: by default Chalice compares content types three times in each request.
app.api.binary_types = []
app.register_middleware(app.add_headers_and_log, "http")
users = CognitoUserPoolAuthorizer("Users", provider_arns=[settings.user_pool_arn])
# A cursor of one deployment is not valid in another.
deployment_id = settings.user_pool_arn + settings.job_requests_table


def jobs_view(view: Callable[[JobsRequest], Response]) -> Callable[[], Response]:
    """Pass the view a JobsRequest, and turn its exceptions into error responses."""

    @wraps(view)
    def handle() -> Response:
        request = cast(Request, app.current_request)
        try:
            return view(JobsRequest(request))
        except Exception as error:
            return response.error_response(error, request)

    return handle


# Each view imports what it needs, which shortens cold starts.
# content_types=[] serves a GET whatever its Content-Type header: it has no body.


@app.route("/jobs/list", methods=["GET"], authorizer=users, content_types=[])
@jobs_view
def list_jobs(request: JobsRequest) -> Response:
    """All jobs of the caller, newest first, base information only."""
    from chalicelib import jobs

    scope = (deployment_id, request.user_id, "list", settings.job_list_index)
    is_position = partial(jobs.is_position, settings=settings)
    position = paging.decode_cursor(request.text("cursor"), is_position, *scope)
    limit = request.number("limit") or None
    db = aws.Client("dynamodb", settings, request.seconds_left)
    items = jobs.list_jobs(db, settings, request.user_id, position, limit)
    rows, next_position = paging.fill_page(
        items, jobs.row, paging.escaped_bytes, jobs.position, limit
    )
    request.log["jobs"] = len(rows)
    next_cursor = paging.encode_cursor(next_position, *scope) if next_position else None
    body = response.json_body(response.json_array("jobs", rows), next_cursor=next_cursor)
    etag = response.etag(body)
    return response.not_modified(etag) if request.matches(etag) else response.ok(body, etag)


@app.route("/jobs/get", methods=["GET"], authorizer=users, content_types=[])
@jobs_view
def get_job(request: JobsRequest) -> Response:
    """One job in full, with presigned URLs of its results once it has succeeded."""
    from chalicelib import files, jobs, urls

    job_id, with_object_urls = request.job_id(), request.text("include") == "object-urls"
    scope = (deployment_id, request.user_id, "get", str(job_id), str(with_object_urls))
    position = paging.decode_cursor(request.text("cursor"), lambda names: len(names) == 1, *scope)
    db = aws.Client("dynamodb", settings, request.seconds_left)
    item = jobs.get_job(db, settings, request.user_id, job_id)
    credentials = aws.credentials()
    signed_at = urls.window_start(time.time(), settings)
    signed_by = credentials.access_key, credentials.token
    etag = response.etag(jobs.fingerprint(item), scope, position, settings, signed_at, signed_by)
    if request.matches(etag):
        return response.not_modified(etag)

    sign = urls.signer(settings, aws.region(settings), credentials, signed_at)
    prefix = files.job_prefix(request.user_id, job_id)
    with_results = jobs.objects_with_results(item)
    names = jobs.objects(item) if with_object_urls else with_results
    after = position[0] if position else ""

    def encode_urls(name: str) -> tuple[str, str]:
        """The object's members of `results` and of `object_urls`; an empty text for none."""
        result = files.result_member(sign, prefix, name) if name in with_results else ""
        return result, files.object_member(sign, prefix, name) if with_object_urls else ""

    job_info = response.encode(jobs.job_info(item))
    rows, next_position = paging.fill_page(
        sorted(name for name in names if name > after),
        encode_urls,
        lambda members: paging.escaped_bytes(",".join(members)),
        lambda name: [name],
        reserved=paging.escaped_bytes(job_info),
    )
    results = [result for result, _ in rows if result]
    object_urls = [url for _, url in rows if url]
    request.log["urls"] = 2 * len(results) + len(object_urls)
    next_cursor = paging.encode_cursor(next_position, *scope) if next_position else None
    body = response.json_body(
        [f'"job_info":{job_info}'],
        response.json_object("results", results),
        response.json_object("object_urls", object_urls) if with_object_urls else [],
        expires_at=urls.expires_at(signed_at, settings),
        next_cursor=next_cursor,
    )
    return response.ok(body, etag)


@app.route("/jobs/get-object-url", methods=["GET"], authorizer=users, content_types=[])
@jobs_view
def get_object_url(request: JobsRequest) -> Response:
    """A presigned URL of one object, made without a request to AWS; the object may not exist."""
    from chalicelib import files, urls

    key = files.object_key(request.user_id, request.job_id(), request.text("object-uuid"))
    download_as = request.download_as()
    signed_at = urls.window_start(time.time(), settings)
    sign = urls.signer(settings, aws.region(settings), aws.credentials(), signed_at)
    request.log["urls"] = 1
    expires_at = urls.expires_at(signed_at, settings)
    return response.ok(response.json_body(url=sign(key, download_as), expires_at=expires_at))


@app.route("/jobs/delete", methods=["DELETE"], authorizer=users)
@jobs_view
def delete_job(request: JobsRequest) -> Response:
    """Delete every file of a job, then its entry, so that no file outlives its entry."""
    from chalicelib import deletion, files, jobs

    job_id = request.job_id()
    prefix = files.job_prefix(request.user_id, job_id)
    s3 = aws.Client("s3", settings, request.seconds_left, aws.UNTIL_TIME_IS_OVER)
    deletion.delete_files(s3, settings.job_files_bucket, prefix, request.log, request.seconds_left)
    db = aws.Client("dynamodb", settings, request.seconds_left, aws.UNTIL_TIME_IS_OVER)
    jobs.delete_job(db, settings, request.user_id, job_id)
    return response.ok(response.json_body(message="Ok"))
