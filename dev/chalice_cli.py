"""What `chalice local`, `deploy` and `package` do before they load the app."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.cli import cli

from chalicelib import aws
from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from dev import reloader

# What stage prod and its policy contain until somebody fills them in.
PLACEHOLDER = "FILL IN"
FILES = (".chalice/config.json", ".chalice/policy-prod.json")
STAND_INS = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEfGhI",
    "JOB_REQUESTS_TABLE": "job-requests",
    "JOB_FILES_BUCKET": "job-files",
}


def prepare() -> None:
    """Check what the command needs, or end it with one line; for `chalice local`, set it up."""
    command, options = parse_command(sys.argv[1:])
    try:
        if command == "local":
            prepare_local(options)
        if command in ("deploy", "package"):
            check_stage(command, options)
        settings = load_settings(os.environ)
        if command == "local":
            aws.region(settings)
            aws.credentials()
        if command in ("deploy", "package"):
            # Chalice prints a traceback if one of these is missing or bad.
            session = botocore.session.Session(profile=options["profile"])
            session.get_scoped_config()
            if command == "deploy":
                check_credentials(session)
    except (ConfigError, BotoCoreError, ClientError, RuntimeError) as error:
        end(" ".join(str(error).split()))


def parse_command(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of Chalice's command, and its options."""
    context = cli.make_context("chalice", list(arguments))
    name, command, rest = cli.resolve_command(context, context._protected_args + context.args)
    if command is None or name not in ("local", "deploy", "package"):
        return name or "", {}
    return name, command.make_context(name, rest, parent=context).params


def end(message: str) -> NoReturn:
    """End the command with the message and a status that is not 0."""
    print(message, file=sys.stderr, flush=True)
    if reloader.is_worker():
        # This is a thread of the reloader's worker, where SystemExit is lost. The reloader ends
        # with status 0 for each status of its worker, so send it a signal. An interactive bash
        # then prints "Terminated", as it does for every signal that ends Python.
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(2)
    sys.exit(2)


def check_stage(command: str, options: dict[str, Any]) -> None:
    """Refuse stage dev, and stage prod until it is filled in. Raises ConfigError."""
    if options["stage"] == "dev":
        raise ConfigError(
            f"Stage dev is for this machine only. Use chalice {command} --stage prod, or make "
            "deploy, which creates the table, the bucket and the user pool as well."
        )
    if options.get("merge_template"):
        # The template replaces the placeholders.
        for name, value in STAND_INS.items():
            if os.environ.get(name, "").startswith(PLACEHOLDER):
                os.environ[name] = value
        return
    for name in FILES:
        check_filled_in(Path(name))


def check_filled_in(path: Path) -> None:
    """Refuse a file that has placeholders left. Raises ConfigError."""
    if path.exists() and PLACEHOLDER in path.read_text("utf-8"):
        raise ConfigError(
            f"{path} still says {PLACEHOLDER}. Fill it in, or use make deploy, which needs no "
            "such values."
        )


def check_credentials(session: botocore.session.Session) -> None:
    """Make a request that every account may make. Raises ConfigError or botocore's exceptions."""
    if session.get_credentials() is None:
        raise ConfigError("There are no AWS credentials. Choose a profile by AWS_PROFILE.")
    if not session.get_config_variable("region"):
        raise ConfigError("There is no AWS region. Set AWS_DEFAULT_REGION.")
    once = Config(connect_timeout=4, read_timeout=4, retries={"total_max_attempts": 1})
    session.create_client("sts", config=once).get_caller_identity()


def prepare_local(options: dict[str, Any]) -> None:
    """Start the emulated AWS if no user pool is named, and patch the server."""
    # botocore's INFO lines say where credentials and endpoints were found.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    from dev import local_server
    from dev.processes import check_free

    host, port = options["host"], options["port"]
    try:
        check_free(port, host)
    except ConfigError as error:
        other = "--port 8001" if host == "127.0.0.1" else "--host 127.0.0.1 --port 8001"
        raise ConfigError(f"{error} Choose another one: chalice local {other}") from error
    url = f"http://{host}:{port}"
    lines = [f"Serving on {url}"]
    if not os.environ.get("USER_POOL_ARN"):
        from dev import demo

        lines = demo.start(url)
    local_server.patch(lines)
