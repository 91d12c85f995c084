"""The page that shows the API: dev/page/, served from an origin of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "page"


@contextmanager
def page_server(
    api: str, aws: str, client_id: str, email: str = "", password: str = ""
) -> Iterator[str]:
    """Serve the page on a free port of 127.0.0.1; its address.

    api and aws are the origins that it calls; it fills in e-mail and password to log in.
    """
    config = {
        "api": api,
        "aws": aws,
        "client_id": client_id,
        "email": email,
        "password": password,
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, config))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(SimpleHTTPRequestHandler):
    """The files of the folder, /config.json, and a policy that lets the page do only its work."""

    # A system's own table may say text/plain, which browsers do not run.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def __init__(self, config: dict[str, str], *request: Any) -> None:
        self._config = config
        super().__init__(*request, directory=str(FOLDER))

    def do_GET(self) -> None:
        """Answer with the configuration, or with a file."""
        if self.path != "/config.json":
            super().do_GET()
            return
        body = json.dumps(self._config).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """Add what every answer carries."""
        api, aws = self._config["api"], self._config["aws"]
        policy = (
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "script-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; "
            f"style-src 'self'; img-src 'self' {aws}; connect-src 'self' {api} {aws}"
        )
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal is for the API's log."""
