"""Callers of the API, for locust: commands.load() starts it.

JOBS_API_TOKENS: a JSON object of user ids and their ID tokens; a caller is one of them throughout.
"""

import itertools
import json
import os
import re
from collections.abc import Callable
from random import randint

from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager

TOKENS: dict[str, str] = json.loads(os.environ["JOBS_API_TOKENS"])
users = itertools.cycle(TOKENS)


def request(method: str, path: str, expected: set[int]) -> Callable[["Caller"], None]:
    """A task that sends the request, for a random job."""
    return lambda caller: caller.call(method, path.format(randint(1, 20)), expected)


class Caller(FastHttpUser):  # type: ignore[misc]  # locust is in an environment of its own
    """Calls all routes, without a pause. Any response that is not right is a failure."""

    def on_start(self) -> None:
        self.user_id = next(users)
        self.etags: dict[str, str] = {}

    # Each task, and how often, in proportion.
    tasks = {  # noqa: RUF012  locust's way
        request("GET", "/jobs/list", {200, 304}): 6,
        request("GET", "/jobs/list?limit=3", {200, 304}): 4,
        request("GET", "/jobs/get?job-id={}", {200, 304, 404}): 8,
        request("GET", "/jobs/get-object-url?job-id={}&object-uuid=a.png", {200}): 4,
        request("DELETE", "/jobs/delete?job-id={}", {200}): 1,
        request("GET", "/jobs/get?job-id=x", {400}): 1,
    }

    def call(self, method: str, path: str, expected: set[int]) -> None:
        """Send a request. The statistics have a line for each route and status."""
        headers = {"Authorization": TOKENS[self.user_id]}
        if path in self.etags:
            headers["If-None-Match"] = self.etags[path]
        with self.client.request(method, path, headers=headers, catch_response=True) as response:
            route = path.partition("?")[0]
            response.request_meta["name"] = f"{route} {response.status_code}"
            if problem := self.problem(response, expected):
                # Without ids, so that failures of a kind count as one.
                body = re.sub("[0-9a-f-]{36}", "<id>", response.text or "")
                response.failure(f"{problem}: {body[:200]}")
            else:
                response.success()
                self.etags[path] = response.headers.get("ETag", self.etags.get(path, ""))

    def problem(self, response: ResponseContextManager, expected: set[int]) -> str:
        # 429: the stage of a deployed stack lets so many a second through.
        if response.status_code not in expected | {429}:
            return f"status {response.status_code}"
        if not response.headers.get("Access-Control-Allow-Origin"):
            return "no CORS"
        if response.status_code == 304:
            return "a 304 with a body" if response.text else ""
        if any(user_id in response.text for user_id in set(TOKENS) - {self.user_id}):
            return "of another user"
        known = {"jobs", "job_info", "url", "message"} & set(response.json())
        return "" if known else "an unknown body"
