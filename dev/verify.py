"""`make verify`: proves a deployed stack by two temporary users, who are removed with their data.

It uses the caller's AWS credentials, on AWS or on the emulator that AWS_ENDPOINT_URL names.
"""

import signal

if __name__ == "__main__":
    # While Python reads the modules there is nothing to remove: Ctrl-C needs no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from shutil import get_terminal_size

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import ConfigError
from dev import demo, run
from dev.checks import ALICES, BOBS, CHECKS, SECONDS, Case, FailedError, Stack, User
from dev.emulated_aws import Pool, create_user, log_in
from dev.processes import end, show

CONFIG = Config(connect_timeout=10, read_timeout=SECONDS, retries={"total_max_attempts": 3})


def main() -> None:
    """Verify the stack STACK in REGION; status 1 if a check fails, 2 if something is missing."""
    name = os.environ.get("STACK") or "jobs-api"
    region = os.environ.get("REGION") or os.environ.get("AWS_REGION") or None
    for number in run.STOPPED_BY:
        signal.signal(number, run.end)
    try:
        failed = verify(find_stack(name, region))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The temporary users and their data are removed.")
    except (ConfigError, ClientError) as error:
        end(reasons(error))
    except (BotoCoreError, ValueError) as error:
        reason = reasons(error).rstrip(".")
        end(f"{reason}. Check AWS_PROFILE and the region: make verify REGION=eu-central-1")
    show(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed. The users are removed.")
    sys.exit(bool(failed))


def reasons(error: BaseException | None) -> str:
    """A line for the error, below those for what failed before it."""
    lines: list[str] = []
    while isinstance(error, BotoCoreError | ClientError | ConfigError | ValueError):
        lines.insert(0, " ".join(str(error).split()))
        # What a ConfigError is raised from stands in its message.
        error = (error.__cause__ or error).__context__
    return "\n".join(lines)


def find_stack(name: str, region: str | None) -> Stack:
    """The stack, by its outputs. Raises ConfigError, or botocore's exceptions."""
    session = boto3.Session(region_name=region)
    try:
        client = session.client("cloudformation", config=CONFIG)
        [found] = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise ConfigError(
            f"There is no stack {name} in {session.region_name}: make verify STACK=… REGION=…"
        ) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    values = {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}
    try:
        url = outputs["EndpointURL"].rstrip("/")
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            # The emulator's way to the API: the output names a host of AWS.
            url = f"{endpoint}/restapis/{outputs['RestAPIId']}/api/_user_request_"
        return Stack(
            url,
            values["AllowedOrigin"],
            Pool(outputs["UserPoolArn"], outputs["UserPoolClientId"]),
            session.client("cognito-idp", config=CONFIG),
            session.resource("dynamodb", config=CONFIG).Table(outputs["JobRequestsTableName"]),
            session.resource("s3", config=CONFIG).Bucket(outputs["JobFilesBucketName"]),
        )
    except KeyError as error:
        raise ConfigError(
            f"The stack {name} is not one of make deploy, or not complete: it has no {error}."
        ) from error


def verify(stack: Stack) -> int:
    """Make two users, and print a line for each check; how many have failed."""
    # A request that Ctrl-C cuts off could still make something, after all has been removed.
    signal.pthread_sigmask(signal.SIG_BLOCK, run.STOPPED_BY)
    show("Making two temporary users with jobs and files ...")
    with temporary_users(stack) as case:
        return sum(not passes(case, number, name) for number, name in enumerate(CHECKS))


@contextmanager
def temporary_users(stack: Stack) -> Iterator[Case]:
    """Two users with their jobs. Raises ConfigError, or botocore's exceptions."""
    with ExitStack() as made:
        users = []
        for jobs in (ALICES, BOBS):
            email = f"verify-{secrets.token_hex(8)}@example.com"
            made.callback(remove_user, stack, email)
            users.append(make_user(stack, email, jobs))
        yield Case(stack, *users)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt here, also if it came before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, run.STOPPED_BY)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def passes(case: Case, number: int, name: str) -> bool:
    """Make a check, and print its line, in a terminal with a bar until it is done."""
    clear = ""
    if sys.stdout.isatty():
        clear = "\r\033[K"
        bar = f"[{'#' * number:.<{len(CHECKS)}}] {name}"
        print(bar[: get_terminal_size().columns - 1], end="", flush=True)
    try:
        with interruptible():
            CHECKS[name](case)
    except Exception as error:
        # Anything that a wrong response can lead to.
        kind = "" if isinstance(error, FailedError) else f"{type(error).__name__}: "
        show(f"{clear}FAILED {name}: {kind}{' '.join(str(error).split())}")
        return False
    show(f"{clear}ok     {name}")
    return True


def make_user(stack: Stack, email: str, jobs: dict[int, demo.Job]) -> User:
    """A user with these jobs, logged in."""
    password = f"{secrets.token_urlsafe(24)}-Aa1"
    user_id = create_user(stack.cognito, stack.pool, email, password)
    for job_id, job in jobs.items():
        with interruptible():
            pass
        put_job(stack, user_id, job_id, job)
    try:
        return User(user_id, log_in(stack.cognito, stack.pool, email, password))
    except KeyError as error:
        raise ConfigError(
            "The user pool wants more than a password: no user can log in."
        ) from error


def put_job(stack: Stack, user_id: str, job_id: int, job: demo.Job) -> None:
    """Write a job with its files, an older version of one of them, and an unfinished upload."""
    item, objects = demo.job_data(user_id, job_id, job)
    stack.table.put_item(Item=item)
    for key, body in [objects[0], *objects]:
        kind = "image/png" if key.endswith(".png") else "application/json"
        stack.bucket.put_object(Key=key, Body=body, ContentType=kind)
    stack.bucket.Object(f"{user_id}/{job_id}/big.mov").initiate_multipart_upload()


def remove_user(stack: Stack, email: str) -> None:
    """Remove what belongs to the user, then the user. Raises ConfigError."""
    who = {"UserPoolId": stack.pool.arn.rpartition("/")[2], "Username": email}
    try:
        attributes = stack.cognito.admin_get_user(**who)["UserAttributes"]
        user_id = next(each["Value"] for each in attributes if each["Name"] == "sub")
        for upload in stack.uploads(f"{user_id}/"):
            # The API may still be at a delete that was cut off.
            with suppress(upload.meta.client.exceptions.NoSuchUpload):
                upload.abort()
        for version in stack.versions(f"{user_id}/"):
            version.delete()
        for job_id in stack.job_ids(user_id):
            stack.table.delete_item(Key={"userId": user_id, "jobId": job_id})
        stack.cognito.admin_delete_user(**who)
    except stack.cognito.exceptions.UserNotFoundException:
        return
    except (BotoCoreError, ClientError) as error:
        raise ConfigError(
            f"The temporary user {email} could not be removed: {error}. Delete the user's jobs in "
            "the table, and files in the bucket, which are under the user's sub; then the user."
        ) from error


if __name__ == "__main__":
    main()
