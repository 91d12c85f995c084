"""`make run`: the server of `chalice local` on an emulated AWS, and the page, on 127.0.0.1."""

import json
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

from chalicelib.errors import ConfigError
from dev import demo
from dev.emulated_aws import (
    BEHAVIOR,
    PASSWORD,
    REGION,
    EmulatedAws,
    api_environ,
    create_pool,
    emulated_aws,
    ignore_shell,
)
from dev.page_server import REFERENCE, page_server
from dev.processes import Process, check_free, child, show, wait_for
from dev.server import stage_config

STOPPED_BY = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def main() -> None:
    """Run until Ctrl-C or SIGTERM, or until a part of it ends by itself."""
    port = chosen_port(os.environ.get("PORT") or "8000")
    try:
        ignore_shell(*BEHAVIOR)
        stage_config("dev")
    except ConfigError as error:
        sys.exit(str(error))
    # SIGINT too: shells start background jobs with it ignored.
    for number in STOPPED_BY:
        signal.signal(number, end)
    try:
        with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
            serve(port, Path(folder))
    except KeyboardInterrupt:
        show("\nStopped.")


def end(*_: object) -> None:
    """Raise KeyboardInterrupt, once: another signal must not interrupt the cleaning up."""
    for number in STOPPED_BY:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def chosen_port(named: str) -> int:
    """The API's port; the page and the emulated AWS use the next two. Ends with a message."""
    if not re.fullmatch("[0-9]{1,5}", named) or not 1 <= int(named) <= 65533:
        sys.exit(f"PORT is {named!r}. It must be a number from 1 to 65533: make run PORT=8010")
    port = int(named)
    try:
        for used in (port, port + 1, port + 2):
            check_free(used, another(port))
    except ConfigError as error:
        sys.exit(str(error))
    return port


def another(port: int) -> str:
    return f"Choose another one: make run PORT={port + 10 if 1024 <= port < 65520 else 8010}"


def serve(port: int, folder: Path) -> None:
    """Start everything, print the curl commands, and wait."""
    url, page_url = (f"http://127.0.0.1:{used}" for used in (port, port + 1))
    show("Starting the emulated AWS with the demo jobs ...")
    with emulated_aws(folder, port + 2, remove=True) as aws:
        pool = create_pool(aws.client("cognito-idp"))
        show("Starting the API ...")
        with (
            local_api(aws, pool.arn, port) as api,
            page_server(url, aws.endpoint, pool.client_id, demo.EMAIL, PASSWORD, port + 1),
        ):
            token = demo.fill(aws, pool)
            try:
                status = wait_for(f"{url}/jobs/list", api, token)
            except RuntimeError as error:
                sys.exit(f"{error}. Is port {port} taken by now? {another(port)}")
            if status != 200:
                sys.exit(f"Another program responds on port {port} by now. {another(port)}")
            show("", *demo.ready_lines(url, token, folder))
            show(f"page: {page_url}", f"reference: {page_url}{REFERENCE}")
            show(
                "\nFor a frontend's .env:",
                f"JOBS_API_URL={url}",
                f"COGNITO_ENDPOINT={aws.endpoint}",
                f"COGNITO_REGION={REGION}",
                f"COGNITO_USER_POOL_ID={pool.arn.rpartition('/')[2]}",
                f"COGNITO_CLIENT_ID={pool.client_id}",
                f"COGNITO_USER={demo.EMAIL}",
                f"COGNITO_PASSWORD={PASSWORD}",
                "\nCtrl-C ends everything. The API's log:",
            )
            parts = {"API": api, "emulated AWS": aws.process}
            while not (ended := [name for name, part in parts.items() if part.poll() is not None]):
                time.sleep(0.5)
            sys.exit(f"The {ended[0]} has ended by itself.")


def local_api(
    aws: EmulatedAws,
    pool_arn: str,
    port: int,
    log: Path | None = None,
    **settings: str,
) -> AbstractContextManager[Process]:
    """The server of `chalice local` as a child process on that AWS."""
    environ = {"PATH": os.environ["PATH"], **api_environ(aws, pool_arn), **settings}
    options = json.dumps({"port": port})
    return child([sys.executable, "-m", "dev.server", options], environ, log)


if __name__ == "__main__":
    main()
