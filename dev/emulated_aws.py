"""The emulated AWS: ministack as a child process, and the resources that the API needs in it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from dev.processes import Process, child, free_port, wait_for

REGION = "eu-central-1"
TABLE = "job-requests"
BUCKET = "job-files"
INDEX = "byDate"
PASSWORD = "Demo-Passw0rd"

KEY_SCHEMA = [
    {"AttributeName": "userId", "KeyType": "HASH"},
    {"AttributeName": "jobId", "KeyType": "RANGE"},
]
INDEX_BY_DATE = {
    "IndexName": INDEX,
    "KeySchema": [KEY_SCHEMA[0], {"AttributeName": "date", "KeyType": "RANGE"}],
    "Projection": {
        "ProjectionType": "INCLUDE",
        "NonKeyAttributes": ["jobName", "contentLength", "creditsSpent", "status"],
    },
}


class EmulatedAws(NamedTuple):
    """Where the emulated AWS answers, a session with its credentials, and its process."""

    endpoint: str
    session: boto3.Session
    process: Process

    def client(self, service: str) -> Any:
        """A boto3 client of a service."""
        config = Config(retries={"total_max_attempts": 2}, max_pool_connections=16)
        return self.session.client(service, endpoint_url=self.endpoint, config=config)

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs in its environment to use this AWS and no other."""
        credentials = self.session.get_credentials()
        assert credentials is not None
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class Pool(NamedTuple):
    """A user pool with a client for passwords."""

    arn: str
    client_id: str


@contextmanager
def emulated_aws(folder: Path, **settings: str) -> Iterator[EmulatedAws]:
    """ministack on a free port of 127.0.0.1; what it writes goes to the folder."""
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # These two would listen on all addresses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        **settings,
    }
    ministack = Path(sys.executable).parent / "ministack"
    with child([ministack], environ, folder / "ministack.log") as process:
        endpoint = f"http://127.0.0.1:{port}"
        wait_for(f"{endpoint}/_ministack/health", process)
        yield EmulatedAws(endpoint, boto3.Session("test", "test", region_name=REGION), process)


def create_table(dynamodb: Any, table: str = TABLE) -> None:
    """The table of jobs, with its index by date."""
    dynamodb.create_table(
        TableName=table,
        KeySchema=KEY_SCHEMA,
        AttributeDefinitions=[
            {"AttributeName": "userId", "AttributeType": "S"},
            {"AttributeName": "jobId", "AttributeType": "N"},
            {"AttributeName": "date", "AttributeType": "S"},
        ],
        LocalSecondaryIndexes=[INDEX_BY_DATE],
        BillingMode="PAY_PER_REQUEST",
    )


def create_bucket(s3: Any, bucket: str = BUCKET) -> None:
    """The bucket of the jobs' files, versioned, readable by pages of any origin."""
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
    )
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def create_pool(cognito: Any) -> Pool:
    """A user pool whose ID tokens are good for a day."""
    pool = cognito.create_user_pool(PoolName="jobs")["UserPool"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool["Id"],
        ClientName="frontend",
        ExplicitAuthFlows=[
            "ALLOW_USER_SRP_AUTH",
            "ALLOW_USER_PASSWORD_AUTH",
            "ALLOW_REFRESH_TOKEN_AUTH",
        ],
        IdTokenValidity=24,
        TokenValidityUnits={"IdToken": "hours"},
    )["UserPoolClient"]
    return Pool(pool["Arn"], client["ClientId"])


def create_user(cognito: Any, pool: Pool, email: str) -> str:
    """A user who can log in with PASSWORD; their id (the claim sub)."""
    pool_id = pool.arn.rpartition("/")[2]
    user = cognito.admin_create_user(
        UserPoolId=pool_id,
        Username=email,
        UserAttributes=[{"Name": "email", "Value": email}],
        MessageAction="SUPPRESS",
    )["User"]
    cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=email, Password=PASSWORD, Permanent=True
    )
    return next(str(a["Value"]) for a in user["Attributes"] if a["Name"] == "sub")


def log_in(cognito: Any, pool: Pool, email: str) -> dict[str, str]:
    """The user's tokens: IdToken, AccessToken, RefreshToken."""
    answer = cognito.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
    )
    tokens: dict[str, str] = answer["AuthenticationResult"]
    return tokens
