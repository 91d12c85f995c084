"""The emulated AWS: ministack as a child process, and the resources that the API needs in it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from chalicelib.config import Settings, load_settings
from dev.processes import Process, child, free_port, wait_for
from dev.resources import TEMPLATE, properties

REGION = "eu-central-1"
TABLE = "job-requests"
BUCKET = "job-files"
PASSWORD = "Demo-Passw0rd"  # pragma: allowlist secret
# No other: ministack has no authentication, and its Lambda service runs any code.
SERVICES = ("cognito-idp", "dynamodb", "s3")

# What the shell may say about the API on an emulated AWS.
BEHAVIOR = (
    "ALLOWED_ORIGIN",
    "JOB_LIST_CONSISTENT_READ",
    "LOG_LEVEL",
    "URL_EXPIRY_SECONDS",
    "URL_WINDOW_SECONDS",
)
# Values that are well-formed.
STAND_INS = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEfGhI",
    "JOB_REQUESTS_TABLE": TABLE,
    "JOB_FILES_BUCKET": BUCKET,
}
NO_CONFIGURATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
INDEX: str = properties("JobRequestsTable")["LocalSecondaryIndexes"][0]["IndexName"]


class EmulatedAws(NamedTuple):
    """The emulated AWS's endpoint, a session with its credentials, and its process."""

    endpoint: str
    session: boto3.Session
    process: Process

    def client(self, service: str) -> Any:
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
            **NO_CONFIGURATION,
        }


class Pool(NamedTuple):
    """A user pool with a client for passwords."""

    arn: str
    client_id: str


def ignore_shell(*kept: str) -> None:
    """Remove what a developer's shell says about AWS, proxies and this API from the environment.

    Raises ConfigError if a variable that is kept has a bad value.
    """
    settings = {name.upper() for name in Settings._fields} - set(kept)
    for name in set(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY") or name in settings:
            del os.environ[name]
    os.environ |= NO_CONFIGURATION
    load_settings({**STAND_INS, **os.environ})


@contextmanager
def emulated_aws(
    folder: Path, port: int = 0, *, remove: bool = False, **settings: str
) -> Iterator[EmulatedAws]:
    """ministack on a port of 127.0.0.1 (0: a free one); what it writes goes to the folder.

    With remove, the folder is removed if this process ends without leaving the context. The
    settings are more of ministack's variables: SERVICES, if a test needs others.
    """
    port = port or free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder),
        "SERVICES": ",".join(SERVICES),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # These two would listen on all addresses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        **settings,
    }
    emulator = Path(__file__).parent / "emulator.py"
    command: list[str | Path] = [sys.executable, "-I", emulator, *([folder] if remove else [])]
    with child(command, environ, folder / "ministack.log") as process:
        session = boto3.Session("test", "test", region_name=REGION)
        aws = EmulatedAws(f"http://127.0.0.1:{port}", session, process)
        # boto3 reads the models of the services while ministack starts.
        for service in SERVICES:
            aws.client(service)
        wait_for(f"{aws.endpoint}/_ministack/health", process)
        yield aws


def api_environ(aws: EmulatedAws, pool_arn: str) -> dict[str, str]:
    """The variables of the API on that AWS."""
    return {
        **{name: os.environ[name] for name in BEHAVIOR if name in os.environ},
        "USER_POOL_ARN": pool_arn,
        "JOB_REQUESTS_TABLE": TABLE,
        "JOB_FILES_BUCKET": BUCKET,
        "JOB_LIST_INDEX": INDEX,
        **aws.environ,
    }


def create_table(dynamodb: Any) -> None:
    """The table of jobs, with its index by date."""
    names = ("AttributeDefinitions", "BillingMode", "KeySchema", "LocalSecondaryIndexes")
    # Without protection and backups: the emulated table may go at any time.
    settings = {name: properties("JobRequestsTable")[name] for name in names}
    dynamodb.create_table(TableName=TABLE, **settings)


def create_bucket(s3: Any, bucket: str = BUCKET) -> None:
    """The bucket of the jobs' files, versioned, readable by pages of any origin."""
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
    )
    settings = properties("JobFilesBucket")
    s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration=settings["VersioningConfiguration"]
    )
    rules = [
        {
            "AllowedOrigins": [TEMPLATE["Parameters"]["AllowedOrigin"]["Default"]],
            "AllowedMethods": rule["AllowedMethods"],
            "AllowedHeaders": rule["AllowedHeaders"],
            # CloudFormation's names differ from the API's.
            "ExposeHeaders": rule["ExposedHeaders"],
            "MaxAgeSeconds": rule["MaxAge"],
        }
        for rule in settings["CorsConfiguration"]["CorsRules"]
    ]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})


def create_pool(cognito: Any) -> Pool:
    """A user pool whose ID tokens are valid for a day."""
    settings = {k: v for k, v in properties("UserPool").items() if k != "DeletionProtection"}
    pool = cognito.create_user_pool(PoolName="jobs", **settings)["UserPool"]
    client = cognito.create_user_pool_client(
        **properties("UserPoolClient") | {"UserPoolId": pool["Id"]},
        ClientName="frontend",
        IdTokenValidity=24,
        TokenValidityUnits={"IdToken": "hours"},
    )["UserPoolClient"]
    return Pool(pool["Arn"], client["ClientId"])


def create_user(cognito: Any, pool: Pool, email: str, password: str = PASSWORD) -> str:
    """A user who can log in with the password; their id (the claim sub)."""
    pool_id = pool.arn.rpartition("/")[2]
    user = cognito.admin_create_user(
        UserPoolId=pool_id,
        Username=email,
        UserAttributes=[{"Name": "email", "Value": email}],
        MessageAction="SUPPRESS",
    )["User"]
    cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=email, Password=password, Permanent=True
    )
    return next(str(a["Value"]) for a in user["Attributes"] if a["Name"] == "sub")


def log_in(cognito: Any, pool: Pool, email: str, password: str = PASSWORD) -> dict[str, str]:
    """The user's tokens: IdToken, AccessToken, RefreshToken."""
    response = cognito.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": password},
    )
    tokens: dict[str, str] = response["AuthenticationResult"]
    return tokens
