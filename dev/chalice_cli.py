"""What Chalice's commands do before they load the app."""

import json
import os
import sys
from typing import Any

from chalice.cli import cli

# What stage prod and its policy contain until somebody fills them in.
PLACEHOLDER = "FILL IN"


def prepare() -> None:
    """Replace `chalice local` by dev/server.py; check what the other commands need.

    At once: Chalice's watcher is running already, and takes new bytecode for a change.
    """
    command, options = parse_command(sys.argv[1:])
    if command == "local":
        del os.environ["AWS_CHALICE_CLI_MODE"]
        # The server is found in the working directory, where Chalice has gone to.
        os.environ.pop("PYTHONSAFEPATH", None)
        os.execv(sys.executable, [sys.executable, "-m", "dev.server", json.dumps(options)])
    from dev.deployment import check

    check(command, options)


def parse_command(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of Chalice's command, and its options."""
    context = cli.make_context("chalice", list(arguments))
    name, command, rest = cli.resolve_command(context, context._protected_args + context.args)
    if command is None or name not in ("local", "deploy", "package"):
        return name or "", {}
    return name, command.make_context(name, rest, parent=context).params
