"""The same four routes in the usual way, as boto3's and Chalice's documentation show it."""

import os
from datetime import UTC, datetime, timedelta

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from chalice import BadRequestError, Chalice, CognitoUserPoolAuthorizer, NotFoundError

from chalicelib.jobs import WITH_RESULTS, base_information, job_info

app = Chalice(app_name="jobs-api-boto3-way")
app.api.cors = True
users = CognitoUserPoolAuthorizer("Users", provider_arns=[os.environ["USER_POOL_ARN"]])

table = boto3.resource("dynamodb").Table(os.environ["JOB_REQUESTS_TABLE"])
bucket = boto3.resource("s3").Bucket(os.environ["JOB_FILES_BUCKET"])
s3 = boto3.client("s3", config=Config(signature_version="s3v4"))


@app.route("/jobs/list", authorizer=users)
def list_jobs():
    query = {
        "KeyConditionExpression": Key("userId").eq(user_id()),
        "ProjectionExpression": "jobId, jobName, #date, contentLength, creditsSpent, #status",
        "ExpressionAttributeNames": {"#date": "date", "#status": "status"},
        "ScanIndexForward": False,
    }
    if os.environ.get("JOB_LIST_INDEX"):
        query["IndexName"] = os.environ["JOB_LIST_INDEX"]
    page = table.query(**query)
    items = page["Items"]
    while "LastEvaluatedKey" in page:
        page = table.query(ExclusiveStartKey=page["LastEvaluatedKey"], **query)
        items += page["Items"]
    return {"jobs": [base_information(item) for item in items]}


@app.route("/jobs/get", authorizer=users)
def get_job():
    job_id = int(parameter("job-id"))
    item = table.get_item(Key={"userId": user_id(), "jobId": job_id}).get("Item")
    if item is None:
        raise NotFoundError(f"There is no job {job_id}")
    results = {}
    if item["status"] in WITH_RESULTS:
        for name in item["objectUuidNames"]:
            if name not in item["failedToProcess"]:
                key = f"{user_id()}/{job_id}/results/{name}"
                results[name] = {
                    "full": presigned_url(f"{key}.json"),
                    "min": presigned_url(f"{key}.min.json"),
                }
    return {"job_info": job_info(item), "results": results, "expires_at": expires_at()}


@app.route("/jobs/get-object-url", authorizer=users)
def get_object_url():
    url = presigned_url(f"{user_id()}/{parameter('job-id')}/{parameter('object-uuid')}")
    return {"url": url, "expires_at": expires_at()}


@app.route("/jobs/delete", methods=["DELETE"], authorizer=users)
def delete_job():
    job_id = int(parameter("job-id"))
    bucket.objects.filter(Prefix=f"{user_id()}/{job_id}/").delete()
    table.delete_item(Key={"userId": user_id(), "jobId": job_id})
    return {"message": "Ok"}


def user_id():
    return app.current_request.context["authorizer"]["claims"]["sub"]


def parameter(name):
    value = (app.current_request.query_params or {}).get(name)
    if not value:
        raise BadRequestError(f"The {name} query parameter is missing")
    return value


def expires_at():
    return (datetime.now(UTC) + timedelta(seconds=3600)).strftime("%Y-%m-%dT%H:%M:%SZ")


def presigned_url(key):
    return s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket.name, "Key": key}, ExpiresIn=3600
    )
