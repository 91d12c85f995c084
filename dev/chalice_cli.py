"""What `chalice local`, `deploy` and `package` do before they load the app."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import botocore.session
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.cli import cli
from chalice.package import JSONTemplateSerializer, YAMLTemplateSerializer

from chalicelib import aws
from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from dev import reloader

# What stage prod and its policy contain until somebody fills them in.
PLACEHOLDER = "FILL IN"
CONFIG = Path(".chalice", "config.json")
STAND_INS = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEfGhI",
    "JOB_REQUESTS_TABLE": "job-requests",
    "JOB_FILES_BUCKET": "job-files",
}


def prepare() -> None:
    """Check what the command needs, or end it with one line; for `chalice local`, set it up."""
    command, options = parse_command(sys.argv[1:])
    try:
        stage = stage_config(options["stage"]) if options else {}
        if command == "local":
            prepare_local(options)
        if command in ("deploy", "package"):
            check_stage(command, options, stage)
        if command == "package":
            check_files(options)
        settings = load_settings(os.environ)
        if command == "local":
            aws.region(settings)
            aws.credentials()
        if command in ("deploy", "package"):
            if settings.region:
                # botocore, and so Chalice, does not read AWS_REGION.
                os.environ["AWS_DEFAULT_REGION"] = settings.region
            # Chalice prints a traceback if one of these is missing or bad.
            session = botocore.session.Session(profile=options["profile"])
            session.get_scoped_config()
            if not session.get_config_variable("region"):
                raise ConfigError("There is no AWS region. Set AWS_REGION.")
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


def stage_config(name: str) -> dict[str, Any]:
    """The stage's configuration, with what is set for all stages. Raises ConfigError."""
    # Chalice has read the file before, so it is there and valid JSON.
    config: dict[str, Any] = json.loads(CONFIG.read_text("utf-8"))
    stages = config.get("stages", {})
    if name not in stages:
        raise ConfigError(f"Stage {name} does not exist. {CONFIG} has: {', '.join(stages)}.")
    return {**config, **stages[name]}


def check_stage(command: str, options: dict[str, Any], stage: dict[str, Any]) -> None:
    """Refuse stage dev, and another until it and its policy are filled in. Raises ConfigError."""
    if options["stage"] == "dev":
        raise ConfigError(
            f"Stage dev is for this machine only. Use chalice {command} --stage prod, or make "
            "deploy, which creates the table, the bucket and the user pool as well."
        )
    files = [CONFIG]
    if not stage.get("autogen_policy", True):
        files.append(
            CONFIG.parent / stage.get("iam_policy_file", f"policy-{options['stage']}.json")
        )
        check_json(files[-1])
    if options.get("merge_template"):
        # The template replaces the placeholders.
        for name, value in STAND_INS.items():
            if os.environ.get(name, "").startswith(PLACEHOLDER):
                os.environ[name] = value
        return
    for path in files:
        check_filled_in(path)


def check_json(path: Path) -> None:
    """Refuse a file that is missing or not JSON. Raises ConfigError."""
    try:
        json.loads(read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error


def read(path: Path) -> str:
    """The file's text. Raises ConfigError."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read: {reason}.") from error


def check_files(options: dict[str, Any]) -> None:
    """Refuse a template or an output on which Chalice would fail after the build.

    Raises ConfigError, or Chalice's RuntimeError for a template.
    """
    name = options["merge_template"]
    if name is not None:
        is_yaml = YAMLTemplateSerializer.is_yaml_template(name)
        serializer = YAMLTemplateSerializer() if is_yaml else JSONTemplateSerializer()
        try:
            template = serializer.load_template(read(Path(name)), name)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name} is not valid YAML: {error}.") from error
        if not isinstance(template, dict):
            raise ConfigError(f"{name} is not a CloudFormation template.")
    out = Path(options["out"]).absolute()
    if options["single_file"]:
        if out.is_dir() or not out.parent.is_dir():
            raise ConfigError(f"{out} must be a file in an existing folder: the zip to write.")
    # Chalice creates the folder and its parents.
    elif not next(path for path in (out, *out.parents) if path.exists()).is_dir():
        raise ConfigError(f"{out} must be a folder, or a name where one can be created.")


def check_filled_in(path: Path) -> None:
    """Refuse a file that has placeholders left. Raises ConfigError."""
    if PLACEHOLDER in path.read_text("utf-8"):
        raise ConfigError(
            f"{path} still says {PLACEHOLDER}. Fill it in, or use make deploy, which needs no "
            "such values."
        )


def check_credentials(session: botocore.session.Session) -> None:
    """Make a request that every account may make. Raises ConfigError or botocore's exceptions."""
    if session.get_credentials() is None:
        raise ConfigError("There are no AWS credentials. Choose a profile by AWS_PROFILE.")
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
