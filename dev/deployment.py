"""What `chalice deploy` and `chalice package` need."""

import json
import os
from pathlib import Path
from typing import Any

import botocore.session
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.package import JSONTemplateSerializer, YAMLTemplateSerializer

from chalicelib.config import load_settings
from chalicelib.errors import ConfigError
from dev.chalice_cli import PLACEHOLDER
from dev.emulated_aws import STAND_INS
from dev.processes import end
from dev.server import stage_config

CONFIG = Path(".chalice", "config.json")


def check(command: str, options: dict[str, Any]) -> None:
    """End the command with one line if something is missing or bad; options: of these two only."""
    try:
        if options:
            check_stage(command, options, stage_config(options["stage"]))
        if command == "package":
            check_files(options)
        settings = load_settings(os.environ)
        if not options:
            return
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


def check_stage(command: str, options: dict[str, Any], stage: dict[str, Any]) -> None:
    """Refuse stage dev, and another until it and its policy are filled in. Raises ConfigError."""
    name = options["stage"]
    if name == "dev":
        raise ConfigError(
            f"Stage dev is for this machine only. Use chalice {command} --stage prod, or make "
            "deploy, which creates the table, the bucket and the user pool as well."
        )
    autogen = options.get("autogen_policy")
    if stage.get("autogen_policy", True) if autogen is None else autogen:
        raise ConfigError(
            f"Stage {name} would get a role that may only log. Set autogen_policy to false for it "
            f"in {CONFIG}, and iam_policy_file, as stage prod has it."
        )
    policy = CONFIG.parent / stage.get("iam_policy_file", f"policy-{name}.json")
    policy_text = read(policy)
    try:
        json.loads(policy_text)
    except ValueError as error:
        raise ConfigError(f"{policy} is not valid JSON: {error}.") from error
    if not options.get("merge_template"):
        for path, text in ((CONFIG, json.dumps(stage)), (policy, policy_text)):
            if PLACEHOLDER in text:
                raise ConfigError(
                    f"{path} still says {PLACEHOLDER}. Fill it in, or use make deploy, which needs "
                    "no such values."
                )
        return
    if stage.get("api_gateway_stage", "api") != "api":
        raise ConfigError(
            f"The template's alarms watch stage api: set api_gateway_stage in {CONFIG} to api, or "
            "remove it."
        )
    # The template replaces the placeholders.
    for variable, value in STAND_INS.items():
        if os.environ.get(variable, "").startswith(PLACEHOLDER):
            os.environ[variable] = value


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


def check_credentials(session: botocore.session.Session) -> None:
    """Make a request that every account may make. Raises ConfigError or botocore's exceptions."""
    if session.get_credentials() is None:
        raise ConfigError("There are no AWS credentials. Choose a profile by AWS_PROFILE.")
    once = Config(connect_timeout=4, read_timeout=4, retries={"total_max_attempts": 1})
    session.create_client("sts", config=once).get_caller_identity()
