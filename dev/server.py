"""`python -m dev.server OPTIONS`: the app behind dev/gateway.py, reloaded when its files change.

The options are those of `chalice local`, as JSON: it becomes this process (dev/chalice_cli.py).
`make run` starts it too (dev/run.py).
"""

import json
import os
import re
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from glob import glob
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from dev.processes import check_free, end, show

ROOT = Path(__file__).parent.parent
# What is packaged, and what the app loads on this machine: glob finds no dotfiles.
PACKAGED = ("app.py", "chalicelib/**", "vendor/**")
LOADED = (*PACKAGED, "dev/*.py", ".chalice/*.json", "resources.yaml")
# What has to run before a mistake in the rest can be logged.
OWN = ("dev/server.py", "dev/processes.py")
# What editors and Python leave in folders.
LEFT_BEHIND = re.compile(r"__pycache__/|/4913$|/#|~$|\.(pyc|orig|rej|bak|tmp)$")
POLL_SECONDS = 0.3
# The variable that hands the open socket on to the process that this one becomes.
SOCKET = "DEV_SERVER_SOCKET"


def main() -> None:
    """Serve until Ctrl-C or SIGTERM, or until the process that has started this one has ended."""
    # Shells start background jobs with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        serve(**json.loads(sys.argv[1]))


def serve(port: int, host: str = "127.0.0.1", stage: str = "dev", autoreload: bool = True) -> None:
    """Serve the stage on the port, or end the process with one line."""
    # Before the code is loaded: what changes from now on has to be loaded again.
    files, parent = files_of(LOADED), os.getppid()
    fd = int(os.environ[SOCKET]) if SOCKET in os.environ else None
    lines = [] if fd else start(host, port, stage)
    server = make_server(host, port, load(stage), threaded=True, request_handler=Handler, fd=fd)
    if fd:
        os.close(fd)  # The server has duplicated it.
    show(*lines or [f"Serving on http://{host}:{port}"])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    while not autoreload:
        thread.join(60)
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
        if changed := changes(files):
            show(f"Restarting local dev server: {', '.join(changed)} changed.")
            files = files_of(LOADED)
            try:
                check_syntax(OWN)
            except (OSError, SyntaxError) as error:
                print(f"It goes on as it was: {place(error)}", file=sys.stderr, flush=True)
                continue
            server.socket.set_inheritable(True)
            os.environ[SOCKET] = str(server.fileno())
            # The same process with new code: the emulated AWS, a child of it, keeps its data.
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def start(host: str, port: int, stage: str) -> list[str]:
    """Check the port and the environment; if no user pool is named, start an emulated AWS.

    Returns the lines to print for it. Ends the process if something is wrong.
    """
    from botocore.exceptions import BotoCoreError

    from chalicelib import aws
    from chalicelib.config import load_settings
    from chalicelib.errors import ConfigError
    from dev import demo
    from dev.emulated_aws import BEHAVIOR, ignore_shell

    try:
        check_free(port, "Choose another one: chalice local --host 127.0.0.1 --port 8001", host)
        os.environ |= stage_config(stage)["environment_variables"]
        if os.environ.get("USER_POOL_ARN"):
            aws.region(load_settings(os.environ))
            aws.credentials()
            return []
        ignore_shell(*BEHAVIOR)
        return demo.start(f"http://{host}:{port}")
    except (BotoCoreError, ConfigError, RuntimeError) as error:
        end(" ".join(str(error).split()))


def load(stage: str) -> Any:
    """The gateway with the app, or while the code is broken, 502 for everything."""
    try:
        config = stage_config(stage)
        os.environ |= config["environment_variables"]
        sys.path.append(str(ROOT / "vendor"))
        # The views import theirs with the first request.
        check_syntax(name for name in files_of(PACKAGED) if name.endswith(".py"))
        from dev.gateway import Gateway

        def load_app() -> Any:
            return runpy.run_path(str(ROOT / "app.py"))["app"]

        return Request.application(Gateway(load_app, config["lambda_timeout"]).respond)
    except (Exception, SystemExit) as error:
        print(f"The API cannot be loaded: {place(error)}", file=sys.stderr, flush=True)
        # As API Gateway responds while the function fails.
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
        message = json.dumps({"message": "Internal server error"})
        return Response(message, HTTPStatus.BAD_GATEWAY, headers, content_type="application/json")


def check_syntax(names: Iterable[str]) -> None:
    """Raises SyntaxError."""
    for name in names:
        compile((ROOT / name).read_bytes(), ROOT / name, "exec")


def place(error: BaseException) -> str:
    """The error with the last line of this project's own code on its way."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(ROOT) and "/lib/" not in f.filename]
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{own[-1].filename}, line {own[-1].lineno}: {reason}"


def stage_config(name: str) -> dict[str, Any]:
    """The stage's configuration, with what is set for all stages. Raises ConfigError."""
    from chalice.config import Config

    from chalicelib.errors import ConfigError

    path = ".chalice/config.json"
    try:
        config = json.loads((ROOT / path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    stages = config.get("stages", {}) if isinstance(config, dict) else None
    if not isinstance(stages, dict):
        raise ConfigError(f'{path} must be an object with an object of stages: {{"stages": {{}}}}.')
    if name not in stages:
        raise ConfigError(f"Stage {name} does not exist. {path} has: {', '.join(stages)}.")
    if not isinstance(stages[name], dict):
        raise ConfigError(f"Stage {name} in {path} must be an object: {{}} if it sets nothing.")
    variables = Config(name, config_from_disk=config).environment_variables
    for variable, value in variables.items():
        if not isinstance(value, str):
            text = json.dumps(value)
            raise ConfigError(f"{variable} in {path} is {text}. It must be a text, in quotes.")
    del config["stages"]
    return {**config, **stages[name], "environment_variables": variables}


def files_of(
    patterns: tuple[str, ...], left_out: re.Pattern[str] = LEFT_BEHIND
) -> dict[str, float]:
    """The files that match, relative to the project, with their times."""
    found: dict[str, float] = {}
    for pattern in patterns:
        for name in glob(pattern, root_dir=ROOT, recursive=True):
            if not left_out.search(name) and not (ROOT / name).is_dir():
                with suppress(FileNotFoundError):  # It has just gone.
                    found[name] = (ROOT / name).stat().st_mtime
    return found


def changes(files: dict[str, float]) -> list[str]:
    """What of LOADED was changed, added or removed since it was these files."""
    return sorted({name for name, _ in files.items() ^ files_of(LOADED).items()})


class Handler(WSGIRequestHandler):
    """Werkzeug's, but it logs no query, which may hold a file's name."""

    error_content_type = "application/json"
    error_message_format = '{"message": "%(explain)s"}'

    def log_request(self, code: int | str = "-", _: int | str = "-") -> None:
        line = f"{self.command} {getattr(self, 'path', '').partition('?')[0]} {code}"
        BaseHTTPRequestHandler.log_message(self, "%s", line)

    def log_error(self, *_: Any) -> None:
        """Log nothing: the message quotes a malformed request."""


if __name__ == "__main__":
    main()
