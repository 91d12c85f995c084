"""`make run`: an emulated AWS with demo jobs, and the API in front of it, all on 127.0.0.1."""

import errno
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

from dev import demo
from dev.emulated_aws import (
    BUCKET,
    INDEX,
    PASSWORD,
    TABLE,
    EmulatedAws,
    create_bucket,
    create_pool,
    create_table,
    create_user,
    emulated_aws,
    log_in,
)
from dev.page_server import REFERENCE, page_server
from dev.processes import Process, check_free, child, wait_for

EMAIL = "demo@example.com"
JOB_WITH_IMAGES = 7
JOB_TO_DELETE = 5


def main() -> None:
    """Run until Ctrl-C or SIGTERM, or until a part of it ends by itself."""
    port = chosen_port(os.environ.get("PORT") or "8000")
    # SIGINT too: a shell starts what runs in the background with it ignored.
    for stopped_by in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopped_by, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory() as folder:
            serve(port, Path(folder))
    except KeyboardInterrupt:
        print("\nStopped.")


def chosen_port(named: str) -> int:
    """The API's port; ends with a message where it is none, or cannot be had."""
    if not re.fullmatch("[0-9]{1,5}", named) or not 1 <= int(named) <= 65535:
        sys.exit(f"PORT is {named!r}. It must be a number from 1 to 65535: make run PORT=8001")
    port = int(named)
    try:
        check_free(port)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"is no use ({error.strerror})"
        sys.exit(f"Port {port} {why}. {another(port)}")
    return port


def another(port: int) -> str:
    """How to choose another port."""
    return f"Choose another one: make run PORT={port + 1 if 1024 <= port < 65535 else 8001}"


def serve(port: int, folder: Path) -> None:
    """Start everything, say what can be called, and wait."""
    say("Starting the emulated AWS ...")
    with emulated_aws(folder) as aws:
        say("Creating the table, the bucket and the user pool ...")
        create_table(aws.client("dynamodb"))
        create_bucket(aws.client("s3"))
        cognito = aws.client("cognito-idp")
        pool = create_pool(cognito)
        user_id = create_user(cognito, pool, EMAIL)
        say("Putting in the demo jobs, one of them with 1,000 files ...")
        demo.put_jobs(aws.session, aws.endpoint, TABLE, BUCKET, user_id)
        say("Starting the API ...")
        url = f"http://127.0.0.1:{port}"
        with (
            local_api(aws, pool.arn, port) as api,
            page_server(url, aws.endpoint, pool.client_id, EMAIL, PASSWORD) as page,
        ):
            token = log_in(cognito, pool, EMAIL)["IdToken"]
            try:
                status = wait_for(f"{url}/jobs/list", api, token)
            except RuntimeError as error:
                sys.exit(f"{error}. Is port {port} taken by now? {another(port)}")
            if status != 200:
                sys.exit(f"Something else answers on port {port} by now. {another(port)}")
            say(f"\nready: {url}")
            print_curl_commands(url, token)
            say(f"page: {page}")
            say(f"reference: {page}{REFERENCE}")
            say(f"(log in there as {EMAIL} with the password {PASSWORD})")
            pool_id = pool.arn.rpartition("/")[2]
            say(f"user pool: {aws.endpoint}, pool id {pool_id}, client id {pool.client_id}")
            say("\nCtrl-C ends everything. The API's log:")
            parts = {"API": api, "emulated AWS": aws.process}
            while all(process.poll() is None for process in parts.values()):
                time.sleep(0.5)
            ended = [name for name, process in parts.items() if process.poll() is not None]
            sys.exit(f"The {ended[0]} has ended by itself.")


def local_api(
    aws: EmulatedAws, pool_arn: str, port: int, log: Path | None = None, **settings: str
) -> AbstractContextManager[Process]:
    """`chalice local` as a child process, with verified tokens, on that AWS."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "USER_POOL_ARN": pool_arn,
        "JOB_REQUESTS_TABLE": TABLE,
        "JOB_FILES_BUCKET": BUCKET,
        "JOB_LIST_INDEX": INDEX,
        **aws.environ,
        **settings,
    }
    # Without the reloader, which looks at every file below the project each second.
    chalice = [sys.executable, "-m", "dev.local_api", "local", "--no-autoreload"]
    return child([*chalice, "--stage", "local", "--port", str(port)], environ, log)


def print_curl_commands(url: str, token: str) -> None:
    """One command a route, each on one line, as it can be pasted."""
    name = demo.object_uuid(JOB_WITH_IMAGES, "garden.png")
    for method, path in (
        ("GET", "/jobs/list"),
        ("GET", f"/jobs/get?job-id={JOB_WITH_IMAGES}"),
        ("GET", f"/jobs/get-object-url?job-id={JOB_WITH_IMAGES}&object-uuid={name}"),
        ("DELETE", f"/jobs/delete?job-id={JOB_TO_DELETE}"),
    ):
        say(f"curl -sS -X {method} -H 'Authorization: {token}' '{url}{path}'")


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
