"""The page that shows the API, and the API's reference, on an origin of their own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
REFERENCE = "/reference/"
SWAGGER_UI = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))


@contextmanager
def page_server(
    api: str, aws: str, client_id: str, email: str = "", password: str = "", port: int = 0
) -> Iterator[str]:
    """Serve the page on a port of 127.0.0.1 (0: a free one), the reference at REFERENCE.

    api and aws are the origins that both call; e-mail and password are filled in to log in.
    Yields the origin.
    """
    config = {
        "api": api,
        "aws": aws,
        "client_id": client_id,
        "email": email,
        "password": password,
    }
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, config))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(SimpleHTTPRequestHandler):
    """The files of the page, generated JSON, and a policy that lets a page do only its work."""

    # A system's own table may say text/plain, which browsers do not run.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def __init__(self, config: dict[str, str], *request: Any) -> None:
        self._config = config
        super().__init__(*request, directory=str(ROOT / "dev" / "page"))

    def do_GET(self) -> None:
        """Send the configuration, the API's document, or a file."""
        if self.path == "/config.json":
            self._send_json(self._config)
        elif self.path == f"{REFERENCE}openapi.json":
            # A SafeLoader, which takes a tenth of the time of Python's own.
            document = yaml.load((ROOT / "openapi.yaml").read_bytes(), yaml.CSafeLoader)
            self._send_json(document | {"servers": [{"url": self._config["api"]}]})
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        translated = Path(super().translate_path(path))
        if path == "/api.js":
            return str(ROOT / "client" / "api.js")
        if translated.name.startswith("swagger-ui") and path.startswith(REFERENCE):
            return str(SWAGGER_UI / translated.name)
        return str(translated)

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        api, aws = self._config["api"], self._config["aws"]
        policy = (
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            f"script-src 'self'; connect-src 'self' {api} {aws}; "
        )
        if getattr(self, "path", "").startswith(REFERENCE):
            # What Swagger UI needs.
            policy += "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
        else:
            policy += (
                "require-trusted-types-for 'script'; trusted-types 'none'; "
                f"style-src 'self'; img-src 'self' {aws}"
            )
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal is for the API's log."""
