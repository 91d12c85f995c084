"""The packaged stack, deployed by CloudFormation onto ministack that enforces IAM (AUTH=true)."""

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import urllib3
import yaml

from dev import demo
from dev.emulated_aws import (
    EmulatedAws,
    Pool,
    create_bucket,
    create_pool,
    create_user,
    emulated_aws,
    log_in,
)
from tests.support.commands import load
from tests.support.events import ROUTES
from tests.support.lambda_instance import SOAK

# What the tests send requests to; CloudFormation itself creates more.
SERVICES = "apigateway,cloudformation,cognito-idp,dynamodb,iam,logs,s3"
STACK = "jobs-api"
ORIGIN = "https://app.example.com"
ALICE, BOB = "alice@example.com", "bob@example.com"
IMAGES = demo.Job("success", "Images", ["garden.png", "b.png", "c.png"])


class Deployed(NamedTuple):
    """The stack's outputs, and its two users."""

    aws: EmulatedAws
    outputs: dict[str, str]
    build: Path
    users: dict[str, str]
    tokens: dict[str, dict[str, str]]
    http: urllib3.PoolManager

    @property
    def pool(self) -> Pool:
        return Pool(self.outputs["UserPoolArn"], self.outputs["UserPoolClientId"])

    @property
    def url(self) -> str:
        """The emulator's way to the stack's EndpointURL, which names a host of AWS."""
        return f"{self.aws.endpoint}/restapis/{self.outputs['RestAPIId']}/api/_user_request_"

    @property
    def bucket(self) -> str:
        return self.outputs["JobFilesBucketName"]

    def __call__(
        self,
        method: str,
        path: str,
        user: str = ALICE,
        token: str | None = None,
        **query: str | int,
    ) -> urllib3.BaseHTTPResponse:
        token = self.tokens[user]["IdToken"] if token is None else token
        names = {name.replace("_", "-"): value for name, value in query.items()}
        return self.http.request(
            method,
            f"{self.url}{path}?{urlencode(names)}",
            headers={"Authorization": token, "Origin": ORIGIN} if token else {"Origin": ORIGIN},
            retries=False,
        )

    def put_job(self, job_id: int, user: str = ALICE) -> None:
        """A finished job with real files, an older version and an unfinished upload."""
        item, objects = demo.job_data(self.users[user], job_id, IMAGES)
        s3 = self.aws.client("s3")
        for key, body in [objects[0], *objects]:
            s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        s3.create_multipart_upload(Bucket=self.bucket, Key=f"{self.users[user]}/{job_id}/big.mov")
        self.table().put_item(Item=item)

    def table(self) -> Any:
        dynamodb = self.aws.session.resource("dynamodb", endpoint_url=self.aws.endpoint)
        return dynamodb.Table(self.outputs["JobRequestsTableName"])

    def has_entry(self, job_id: int, user: str = ALICE) -> bool:
        return "Item" in self.table().get_item(Key={"userId": self.users[user], "jobId": job_id})

    def left(self, job_id: int, user: str = ALICE) -> list[str]:
        """The keys of all versions, delete markers and uploads below the job's prefix."""
        s3 = self.aws.client("s3")
        where = {"Bucket": self.bucket, "Prefix": f"{self.users[user]}/{job_id}/"}
        page = s3.list_object_versions(**where)
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        found += s3.list_multipart_uploads(**where).get("Uploads", [])
        return [entry["Key"] for entry in found]


def deploy_stack(aws: EmulatedAws, build: Path, origin: str, kind: str) -> dict[str, str]:
    """Create or update the stack by CloudFormation, as `sam deploy` does; its outputs."""
    s3, cloudformation = aws.client("s3"), aws.client("cloudformation")
    if kind == "create":
        create_bucket(s3, "code")
    s3.upload_file(str(build / "deployment.zip"), "code", "deployment.zip")
    template = yaml.safe_load((build / "template.yaml").read_text())
    template["Resources"]["APIHandler"]["Properties"]["CodeUri"] = "s3://code/deployment.zip"
    getattr(cloudformation, f"{kind}_stack")(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "AllowedOrigin", "ParameterValue": origin}],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    waiter = cloudformation.get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=STACK, WaiterConfig={"Delay": 1})
    [stack] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def deployed(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with emulated_aws(tmp_path_factory.mktemp("deployed"), AUTH="true", SERVICES=SERVICES) as aws:
        outputs = deploy_stack(aws, build, ORIGIN, "create")
        cognito = aws.client("cognito-idp")
        pool = Pool(outputs["UserPoolArn"], outputs["UserPoolClientId"])
        users = {email: create_user(cognito, pool, email) for email in (ALICE, BOB)}
        tokens = {email: log_in(cognito, pool, email) for email in users}
        yield Deployed(aws, outputs, build, users, tokens, urllib3.PoolManager())


@pytest.fixture(scope="module")
def stack(deployed: Deployed) -> Deployed:
    """The stack without its bucket's policy, by which all over plain HTTP is refused."""
    deployed.aws.client("s3").delete_bucket_policy(Bucket=deployed.bucket)
    return deployed


def test_the_bucket_refuses_what_does_not_come_over_tls(deployed: Deployed) -> None:
    """The emulator speaks plain HTTP. It has to come first: the fixture `stack` ends it."""
    url = deployed("GET", "/jobs/get-object-url", job_id=1, object_uuid="a.png").json()["url"]
    response = deployed.http.request("GET", url)
    assert response.status == 403
    assert b"AccessDenied" in response.data


def test_results_open_with_the_roles_own_credentials(stack: Deployed) -> None:
    stack.put_job(1)
    job = stack("GET", "/jobs/get", job_id=1)
    assert job.status == 200
    assert len(job.json()["results"]) == 3
    for name, urls in job.json()["results"].items():
        assert "X-Amz-Security-Token=" in urls["full"]
        full = stack.http.request("GET", urls["full"])
        assert (full.status, full.json()["object"]) == (200, name)
        url = stack("GET", "/jobs/get-object-url", job_id=1, object_uuid=name).json()["url"]
        assert stack.http.request("GET", url).data.startswith(b"\x89PNG")


def test_users_never_see_each_others_jobs(stack: Deployed) -> None:
    stack.put_job(1, ALICE)
    stack.put_job(2, BOB)
    for user, own, other in ((ALICE, 1, 2), (BOB, 2, 1)):
        listed = stack("GET", "/jobs/list", user).json()["jobs"]
        assert own in [job["job_id"] for job in listed]
        assert other not in [job["job_id"] for job in listed]
        assert stack("GET", "/jobs/get", user, job_id=other).status == 404
        assert stack("DELETE", "/jobs/delete", user, job_id=other).status == 200
        name = demo.object_uuid(other, "garden.png")
        url = stack("GET", "/jobs/get-object-url", user, job_id=other, object_uuid=name)
        assert stack.http.request("GET", url.json()["url"]).status in (403, 404)
    assert stack.has_entry(1, ALICE)
    assert stack.left(2, BOB)


def test_delete_leaves_nothing(stack: Deployed) -> None:
    stack.put_job(3)
    assert len(stack.left(3)) == 12
    response = stack("DELETE", "/jobs/delete", job_id=3)
    assert (response.status, response.json()) == (200, {"message": "Ok"})
    assert stack.left(3) == []
    assert not stack.has_entry(3)


def other_pools_token(aws: EmulatedAws) -> str:
    cognito = aws.client("cognito-idp")
    pool = create_pool(cognito)
    create_user(cognito, pool, ALICE)
    return log_in(cognito, pool, ALICE)["IdToken"]


def test_a_bad_token_gets_401_on_every_route(stack: Deployed) -> None:
    alices, bobs = (stack.tokens[user]["IdToken"].split(".") for user in (ALICE, BOB))
    tokens = {
        "missing": "",
        "garbage": "garbage",
        "tampered": ".".join([*bobs[:2], alices[2]]),
        "another pool's": other_pools_token(stack.aws),
        "access token": stack.tokens[ALICE]["AccessToken"],
    }
    for (kind, token), (path, method) in itertools.product(tokens.items(), ROUTES.items()):
        response = stack(method, path, token=token, job_id=1)
        got = (response.status, response.json())
        assert got == (401, {"message": "Unauthorized"}), f"{kind}: {method} {path}"


def test_an_expired_token_gets_401(stack: Deployed) -> None:
    cognito = stack.aws.client("cognito-idp")
    client = cognito.create_user_pool_client(
        UserPoolId=stack.outputs["UserPoolId"],
        ClientName="brief",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"],
        IdTokenValidity=2,
        TokenValidityUnits={"IdToken": "seconds"},
    )["UserPoolClient"]["ClientId"]
    token = log_in(cognito, Pool(stack.outputs["UserPoolArn"], client), ALICE)["IdToken"]
    assert stack("GET", "/jobs/list", token=token).status == 200
    deadline = time.monotonic() + 10
    while (response := stack("GET", "/jobs/list", token=token)).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (response.status, response.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize(
    "action",
    [
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:ListBucketVersions",
        "s3:ListBucketMultipartUploads",
        "s3:AbortMultipartUpload",
    ],
)
def test_without_a_permission_delete_fails_and_the_entry_stays(
    action: str, stack: Deployed
) -> None:
    """Also the other way round: with all that the role has, it works, so none is missing."""
    stack.put_job(4)
    iam = stack.aws.client("iam")
    [role] = [r["RoleName"] for r in iam.list_roles()["Roles"] if "ApiHandlerRole" in r["RoleName"]]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = json.loads(json.dumps(policy).replace(f'"{action}"', '"s3:GetObjectAcl"'))
    assert less != policy
    for document, status in ((less, 500), (policy, 200)):
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        assert stack("DELETE", "/jobs/delete", job_id=4).status == status
        assert stack.has_entry(4) == (status == 500)
        assert bool(stack.left(4)) == (status == 500)


def test_the_log_group_gets_one_json_line_a_request(stack: Deployed) -> None:
    stack("GET", "/jobs/list")
    logs = stack.aws.client("logs")
    [group] = [
        g["logGroupName"]
        for g in logs.describe_log_groups()["logGroups"]
        if "APIHandlerLogs" in g["logGroupName"]
    ]
    messages = [e["message"] for e in logs.filter_log_events(logGroupName=group)["events"]]
    lines = [json.loads(message) for message in messages if message.startswith("{")]
    assert any(line["route"] == "GET /jobs/list" and line["status"] == 200 for line in lines)
    assert not any("X-Amz-Signature" in m or "eyJ" in m or "@example" in m for m in messages)


@pytest.mark.skipif(not SOAK, reason="minutes: make soak")
def test_under_load_the_stack_gives_right_responses_and_deletes_all(
    stack: Deployed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Jobs are listed, got and deleted by many callers, while the writer puts in new ones."""
    jobs = list(itertools.product(range(1, 21), (ALICE, BOB)))
    ended = threading.Event()

    def write() -> None:
        for job_id, user in itertools.cycle(jobs):
            if ended.wait(0.05):
                return
            stack.put_job(job_id, user)

    tokens = {stack.users[user]: stack.tokens[user]["IdToken"] for user in (ALICE, BOB)}
    with ThreadPoolExecutor() as pool, capfd.disabled():
        writer = pool.submit(write)
        try:
            seen = load(stack.url, tokens, int(os.environ.get("LOAD_SECONDS", 300)), tmp_path)
        finally:
            ended.set()
        writer.result()
    assert {"/jobs/list 200", "/jobs/list 304", "/jobs/get 200", "/jobs/get 404"} <= seen
    assert {"/jobs/get-object-url 200", "/jobs/delete 200"} <= seen
    for job_id, user in jobs:
        assert stack("DELETE", "/jobs/delete", user, job_id=job_id).status == 200
        assert stack.left(job_id, user) == []
        assert not stack.has_entry(job_id, user)


def test_an_update_of_the_stack_keeps_the_data(stack: Deployed) -> None:
    """It comes last: ministack gives the API another id, where AWS keeps it."""
    stack.put_job(5)
    outputs = deploy_stack(stack.aws, stack.build, "https://other.example.com", "update")
    changed = {name for name in outputs if outputs[name] != stack.outputs[name]}
    assert changed <= {"RestAPIId", "EndpointURL"}
    here = stack._replace(outputs=outputs)
    response = here("GET", "/jobs/get", job_id=5)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://other.example.com"
    url = next(iter(response.json()["results"].values()))["full"]
    stack.aws.client("s3").delete_bucket_policy(Bucket=stack.bucket)
    assert stack.http.request("GET", url).status == 200
