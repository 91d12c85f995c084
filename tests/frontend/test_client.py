"""client/api.js in Node: retries, aborts, tokens, paging; and its types."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from chalicelib.request import PARAMETERS
from tests.support import ROOT, camel_case
from tests.support.api_proxy import ApiProxy, Planned, api_proxy
from tests.support.commands import find, shell
from tests.support.events import ROUTES

CLIENT = ROOT / "client"
LIST, GET, URL = "GET /jobs/list", "GET /jobs/get", "GET /jobs/get-object-url"
EMPTY = Planned(200, '{"jobs": []}', {"ETag": '"a"'})
BUSY = '{"message": "Busy."}'
FOREIGN = {"message": "The response is not the API's."}
REQUEST_ID = {"X-Request-Id": "r1"}
GATEWAY_FAILURE = '{"message": "Internal server error"}'

# Runs the function body of each line. One process for all: it starts slower than a test runs.
PROGRAM = """
import { getEventListeners } from "node:events";
import { createInterface } from "node:readline";
import { mock } from "node:test";
const { ApiError, jobDate, jobsApi } = await import(process.argv[1]);

// What a promise comes to.
const outcome = (promise) => promise.then(
  (value) => ({ value }),
  (error) => ({
    ...(error.toJSON?.() ?? { name: error.name, message: error.message }),
    cause: error.cause?.name,
  }),
);

// A pause is spread by up to a quarter: here by an eighth.
Math.random = () => 0.5;
for await (const line of createInterface({ input: process.stdin })) {
  const { url, script } = JSON.parse(line);
  const api = jobsApi(url, () => "token");
  const waits = [];
  const pauses = [];
  function onWait(...wait) {
    waits.push(wait);
    // The timer that comes next is the pause: it takes no time here.
    const timer = setTimeout;
    globalThis.setTimeout = (resolve, ms) => {
      globalThis.setTimeout = timer;
      return timer(() => resolve(pauses.push(ms)), 0);
    };
  }
  const late = new Promise((_, reject) => setTimeout(reject, 30_000, "It hangs.").unref());
  const value = Promise.race([eval(`(async () => { ${script} })()`), late]);
  const result = await value.then((value) => ({ value }), (error) => ({ error: `${error}` }));
  mock.reset();
  console.log(JSON.stringify(result));
}
"""
Run = Callable[[str], Any]


@pytest.fixture
def server() -> Iterator[ApiProxy]:
    with api_proxy() as server:
        yield server


@pytest.fixture(scope="module")
def node() -> Iterator[subprocess.Popen[str]]:
    client = (CLIENT / "api.js").as_uri()
    command = [find("node", "nodejs"), "--input-type=module", "--eval", PROGRAM, client]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def run(node: subprocess.Popen[str], server: ApiProxy) -> Run:
    """What a function body returns, given what PROGRAM has: api, url, outcome(), onWait, ..."""

    def run(script: str) -> Any:
        assert node.stdin
        assert node.stdout
        print(json.dumps({"url": server.url, "script": script}), file=node.stdin, flush=True)
        result = json.loads(node.stdout.readline())
        assert "error" not in result, result["error"]
        return result.get("value")

    return run


@pytest.mark.parametrize(
    ("route", "call"), [(LIST, "api.list({ previous })"), (GET, "api.get(1, { previous })")]
)
def test_what_has_not_changed_is_the_previous_object_itself(
    route: str, call: str, run: Run, server: ApiProxy
) -> None:
    server.plan(route, EMPTY, Planned(304), Planned(200, '{"jobs": []}', {"ETag": '"b"'}))
    script = f"""
        const load = (previous) => {call};
        const first = await load();
        const second = await load(first);
        const third = await load(second);
        return [first === second, second === third, third.etag];
    """
    assert run(script) == [True, False, '"b"']
    sent = [request.headers.get("if-none-match") for request in server.requests]
    assert sent == [None, '"a"', '"a"']


@pytest.mark.parametrize("scope", ["window", "WorkerGlobalScope"])
def test_if_none_match_is_not_sent_where_there_is_an_http_cache(
    scope: str, run: Run, server: ApiProxy
) -> None:
    server.plan(LIST, EMPTY, EMPTY)
    script = f"""
        globalThis.{scope} = globalThis;
        const browser = await import(`${{process.argv[1]}}?{scope}`);
        delete globalThis.{scope};
        const api = browser.jobsApi(url, () => "token");
        const first = await api.list();
        return first === await api.list({{ previous: first }});
    """
    assert run(script)
    assert [request.headers.get("if-none-match") for request in server.requests] == [None, None]


def test_the_base_url_may_end_in_slashes(run: Run, server: ApiProxy) -> None:
    server.plan("GET /api/jobs/list", EMPTY, EMPTY)
    run('for (const end of ["", "//"]) await jobsApi(`${url}/api${end}`, () => "token").list()')
    assert server.lines() == ["GET /api/jobs/list"] * 2


CALLS = {
    "/jobs/list": "api.list(options)",
    "/jobs/get": "api.get(1, options)",
    "/jobs/get-object-url": "api.objectUrl(1, 'a.png', options)",
    "/jobs/delete": "api.delete(1)",
}


@pytest.mark.parametrize("path", CALLS)
def test_every_parameter_of_a_route_is_sent(path: str, run: Run, server: ApiProxy) -> None:
    route = path.removeprefix("/jobs/")
    names = {name for name, each in PARAMETERS.items() if route in each.routes}
    options = {camel_case(name): "1" for name in names}
    server.plan(f"{ROUTES[path]} {path}", EMPTY)
    run(f"const options = {json.dumps(options)}; await outcome({CALLS[path]})")
    [line] = server.lines()
    # The client itself follows the cursors of a job.
    expected = names - {"cursor"} if route == "get" else names
    assert parse_qs(line.partition("?")[2]).keys() == expected


def test_parameters_are_percent_encoded(run: Run, server: ApiProxy) -> None:
    server.plan(URL, EMPTY)
    run('return api.objectUrl(1, "a&b#c.png", { downloadAs: "a+b%20.png" })')
    query = "job-id=1&object-uuid=a%26b%23c.png&download-as=a%2Bb%2520.png"
    assert server.lines() == [f"{URL}?{query}"]


@pytest.mark.parametrize(
    ("first", "waited", "message"),
    [
        (Planned(503, BUSY, {"Retry-After": "8"}), 8, "Busy."),
        (Planned(500, GATEWAY_FAILURE), 1, "Internal server error"),
        (Planned(cut=True), 1, "The API cannot be reached."),
        (Planned(200, '{"jobs": [', cut=True), 1, "The API cannot be reached."),
    ],
    ids=["Retry-After", "API Gateway's 500", "no response", "half a response"],
)
def test_a_transient_error_is_retried(
    first: Planned, waited: int, message: str, run: Run, server: ApiProxy
) -> None:
    server.plan(LIST, first, EMPTY)
    # The function of the request is called instead of the client's.
    script = """
        const api = jobsApi(url, () => "token", { onWait: () => waits.push("the client's") });
        return [await api.list({ onWait }), waits, pauses];
    """
    job_list, waits, pauses = run(script)
    assert job_list["jobs"] == []
    # Never earlier than Retry-After; shown in whole seconds.
    assert pauses == [1125 * waited]
    assert waits == [[ceil(1.125 * waited), message]]
    assert len(server.lines()) == 2


@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        ("Thu, 01 Jan 2026 00:00:08 GMT", 8),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 1),
        ("-5", 1),
        ("99999999", 24 * 60 * 60),
    ],
    ids=["a date", "a past date", "a negative number", "longer than a timer can be"],
)
def test_retry_after_is_read_in_every_form(
    named: str, seconds: int, run: Run, server: ApiProxy
) -> None:
    server.plan(LIST, Planned(429, BUSY, {"Retry-After": named}), EMPTY)
    script = """
        const { now } = Date;
        Date.now = () => Date.UTC(2026, 0);
        await api.list({ onWait });
        Date.now = now;
        return pauses;
    """
    assert run(script) == [1125 * seconds]


def test_a_request_is_retried_without_on_wait_too(run: Run, server: ApiProxy) -> None:
    server.plan(LIST, Planned(503, BUSY, {"Retry-After": "0.01"}), EMPTY)
    assert run("return (await api.list()).jobs") == []


def test_a_request_is_retried_up_to_three_times(run: Run, server: ApiProxy) -> None:
    """The token of a retry comes after its pause, which is twice as long as the one before."""
    last = Planned(503, BUSY, REQUEST_ID)
    planned = (Planned(429), Planned(502, "<html>"), Planned(504), last, Planned(200))
    server.plan("DELETE /jobs/delete", *planned)
    error, pauses, waits = run(
        """
        const api = jobsApi(url, ({ refused }) => `${refused} ${pauses.length}`, { onWait });
        return [await outcome(api.delete(1)), pauses, waits];
        """
    )
    assert (error["name"], error["status"]) == ("ApiError", 503)
    assert (error["message"], error["requestId"]) == ("Busy.", "r1")
    assert pauses == [1125, 2250, 4500]
    text = "The API responded with status"
    assert waits == [[2, f"{text} 429."], [3, f"{text} 502."], [5, f"{text} 504."]]
    assert server.lines() == ["DELETE /jobs/delete?job-id=1"] * 4
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == [f"Bearer false {count}" for count in (0, 1, 2, 3)]


@pytest.mark.parametrize(
    ("planned", "id_token", "requests"),
    [
        (Planned(), "() => { stop.abort(); return new Promise(() => {}); }", 0),
        (Planned(), "() => { soon(); return new Promise(() => {}); }", 0),
        (Planned(seconds=60), '() => { soon(); return "token"; }', 1),
        (Planned(503, BUSY, {"Retry-After": "60"}), '() => "token"', 1),
    ],
    ids=["before a request", "waiting for a token", "for a response", "for a retry"],
)
def test_the_signal_aborts_a_request_at_once(
    planned: Planned, id_token: str, requests: int, run: Run, server: ApiProxy
) -> None:
    server.plan(LIST, planned)
    script = f"""
        const stop = new AbortController();
        const soon = () => setTimeout(() => stop.abort(), 200);
        let sent = 0;
        const count = (...request) => (sent++, fetch(...request));
        const api = jobsApi(url, {id_token}, {{ onWait: soon, fetch: count }});
        const result = await outcome(api.list({{ signal: stop.signal }}));
        const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout");
        return [result, sent, timers, getEventListeners(stop.signal, "abort").length];
    """
    result, sent, timers, listeners = run(script)
    assert (result["name"], sent) == ("AbortError", requests)
    # Nothing keeps the process, and nothing the request.
    assert (timers, listeners) == ([], 0)


def test_it_does_without_what_react_native_and_browsers_of_2022_lack(
    run: Run, server: ApiProxy
) -> None:
    server.plan(LIST, EMPTY, Planned(seconds=60), Planned(seconds=60))
    listed, aborted, waiting, late = run(
        """
        const lacking = [
          [AbortSignal, "any"], [AbortSignal, "timeout"], [AbortSignal.prototype, "reason"],
          [AbortSignal.prototype, "throwIfAborted"], [Response.prototype, "body"],
        ].map(([owner, name]) => [owner, name, Object.getOwnPropertyDescriptor(owner, name)]);
        for (const [owner, name] of lacking) delete owner[name];
        const stop = new AbortController();
        const { signal } = stop;
        const listed = await api.list({ signal });
        setTimeout(() => stop.abort(), 100);
        const never = jobsApi(url, () => new Promise(() => {}));
        const stopped = [outcome(api.list({ signal })), outcome(never.list({ signal }))];
        const hasty = jobsApi(url, () => "token", { timeoutSeconds: 0.1 });
        const result = [listed, ...(await Promise.all(stopped)), await outcome(hasty.list())];
        for (const [owner, name, member] of lacking) Object.defineProperty(owner, name, member);
        return result;
        """
    )
    assert listed["jobs"] == []
    assert aborted == waiting == {"name": "AbortError", "message": "It was aborted."}
    assert late["message"] == "The API did not respond in time."


@pytest.mark.parametrize(("options", "seconds"), [("{}", 35), ("{ timeoutSeconds: 11 }", 11)])
def test_a_response_that_stalls_for_timeout_seconds_ends_and_a_slow_one_does_not(
    options: str, seconds: int, run: Run
) -> None:
    script = f"""
        mock.timers.enable({{ apis: ["setTimeout"] }});
        let stalling;
        let tries = 0;
        // Each part takes almost as long as it may, and the one that stalls takes as long.
        async function wait(part) {{
          await new Promise(setImmediate);
          mock.timers.tick({seconds} * 1000 - (part === stalling ? 0 : 1));
        }}
        async function fetch(_, {{ signal }}) {{
          tries++;
          await wait("headers");
          signal.throwIfAborted();
          return new Response(new ReadableStream({{
            async start(stream) {{
              signal.addEventListener("abort", () => stream.error(signal.reason));
              for (const part of ['{{"jobs"', ":[", "]}}"]) {{
                await wait(part);
                stream.enqueue(new TextEncoder().encode(part));
              }}
              await wait("end");
              stream.close();
            }},
          }}));
        }}
        const api = jobsApi(url, () => "token", {{ fetch, ...{options} }});
        const results = [];
        for (stalling of [null, "headers", "]}}", "end"]) results.push(await outcome(api.list()));
        return [results, tries];
    """
    [whole, *stalled], tries = run(script)
    assert whole == {"value": {"jobs": []}}
    late = {"name": "ApiError", "status": 0, "message": "The API did not respond in time."}
    assert stalled == [late] * 3
    # None of those that stalled was retried.
    assert tries == 4


def test_nothing_keeps_the_process_after_a_response(run: Run) -> None:
    script = """
        let stream;
        const body = new ReadableStream({ start: (controller) => (stream = controller) });
        const response = Object.assign(new Response('{"jobs": []}'), { clone: () => ({ body }) });
        await jobsApi(url, () => "token", { fetch: async () => response }).list();
        // The copy, which shows that the body arrives, is behind.
        stream.enqueue(new Uint8Array(1));
        await new Promise(setImmediate);
        return process.getActiveResourcesInfo().filter((name) => name === "Timeout");
    """
    assert run(script) == []


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Planned(500, '{"message": "It went wrong."}'), {"message": "It went wrong."}),
        (Planned(403, '{"message": ""}'), {"message": "The API responded with status 403."}),
        (Planned(408, BUSY), {"message": "Busy."}),
        (Planned(404, BUSY, {"ETag": '"b"'}), {"message": "Busy."}),
        (
            Planned(404, '{"message": "No.", "affected_query_parameter": "a"}', REQUEST_ID),
            {"message": "No.", "parameter": "a", "requestId": "r1"},
        ),
        (Planned(200, "<html>", REQUEST_ID), FOREIGN | {"requestId": "r1", "cause": "SyntaxError"}),
        (Planned(200, "null", {"ETag": '"a"'}), FOREIGN),
        (Planned(200, '"text"', {"ETag": '"a"'}), FOREIGN),
    ],
    ids=["the API's 500", "no message", "a 408", "ETag", "a parameter", "HTML", "null", "a text"],
)
def test_an_error_has_what_the_response_says_and_is_not_retried(
    response: Planned, expected: dict[str, str], run: Run, server: ApiProxy
) -> None:
    server.plan(GET, response, EMPTY)
    error = {"name": "ApiError", "status": response.status, **expected}
    script = """return outcome(api.get(1, { previous: { etag: '"b"' } }))"""
    assert run(script) == error


def test_an_error_without_a_response_has_status_0(run: Run, server: ApiProxy) -> None:
    server.plan(LIST, *[Planned(cut=True)] * 4)
    error = run("return outcome(api.list({ onWait }))")
    assert (error["status"], error["cause"]) == (0, "TypeError")


@pytest.mark.parametrize(
    ("tokens", "status"),
    [
        (["old", "new"], 200),
        (["old", "old"], 401),
        ([None, None], 401),
        (["old", None], 401),
        (["old", "bad"], 401),
    ],
    ids=["a fresh token", "the same token", "logged out", "logged out since", "refused twice"],
)
def test_a_401_requests_a_fresh_token_once(
    tokens: list[str | None], status: int, run: Run, server: ApiProxy
) -> None:
    refusal = Planned(401, '{"message": "Unauthorized"}')
    server.plan(LIST, refusal, EMPTY if tokens[1] == "new" else refusal, EMPTY)
    result = run(
        f"""
        const tokens = {json.dumps(tokens)};
        const calls = [];
        const api = jobsApi(url, async ({{ refused }}) => {{
          calls.push(refused);
          return tokens[calls.length - 1];
        }});
        return {{ calls, ...(await outcome(api.list())) }};
        """
    )
    assert result["calls"] == [False, True]
    assert result.get("status", 200) == status
    # A token that was refused is not sent again, and where there is none, no header is sent.
    sent = [request.headers.get("authorization") for request in server.requests]
    expected = tokens if tokens[1] in ("new", "bad") else tokens[:1]
    assert sent == [token and f"Bearer {token}" for token in expected]


def test_a_401_after_a_refresh_and_a_retry_is_thrown(run: Run, server: ApiProxy) -> None:
    server.plan(LIST, Planned(401), Planned(503), Planned(401), EMPTY)
    calls, error = run(
        """
        const calls = [];
        const idToken = ({ refused }) => `${calls.push(refused)}`;
        const error = await outcome(jobsApi(url, idToken, { onWait }).list());
        return [calls, error];
        """
    )
    assert calls == [False, True, False]
    assert error["status"] == 401


def test_at_most_six_requests_run_at_a_time(run: Run, server: ApiProxy) -> None:
    server.plan(URL, *[Planned(200, '{"url": "u", "expires_at": "e"}')] * 20)
    first, urls, most = run(
        """
        let running = 0;
        let most = 0;
        const count = (...request) => {
          most = Math.max(most, ++running);
          return fetch(...request).finally(() => running--);
        };
        const api = jobsApi(url, () => "token", { fetch: count });
        const names = Array.from({ length: 20 }, (_, index) => `${index}.png`);
        const stopped = new AbortController();
        const urls = names.map((name) => api.objectUrl(1, name));
        const aborted = outcome(api.objectUrl(1, "21.png", { signal: stopped.signal }));
        stopped.abort();
        return [await Promise.race([aborted, ...urls]), await Promise.all(urls), most];
        """
    )
    assert urls == [{"url": "u", "expires_at": "e"}] * 20
    assert most == 6
    # It does not wait for its turn.
    assert first["name"] == "AbortError"
    assert len(server.lines()) == 20


def test_jobs_goes_through_every_page(run: Run, server: ApiProxy) -> None:
    page = '{"jobs": [{"job_id": %d}], "next_cursor": "%d"}'
    last = Planned(200, '{"jobs": [{"job_id": 3}]}')
    script = """
        const ids = [];
        for await (const { job_id } of api.jobs(%s)) ids.push(job_id);
        return ids;
    """
    for options, limit in (("{ limit: 1 }", "limit=1&"), ("", "")):
        server.plan(LIST, Planned(200, page % (1, 2)), Planned(200, page % (2, 3)), last)
        assert run(script % options) == [1, 2, 3]
        assert [line.partition("?")[2] for line in server.lines()] == [
            limit.rstrip("&"),
            f"{limit}cursor=2",
            f"{limit}cursor=3",
        ]


def test_a_mock_that_repeats_its_page_forever_is_an_error(run: Run, server: ApiProxy) -> None:
    page = Planned(200, '{"jobs": [{"job_id": 1}], "next_cursor": "a"}')
    server.plan(LIST, page, page, page)
    server.plan(GET, *[Planned(200, '{"results": {}, "next_cursor": "a"}')] * 3)
    listed, whole, ids = run(
        """
        const ids = [];
        async function load() {
          for await (const { job_id } of api.jobs()) ids.push(job_id);
        }
        return [await outcome(load()), await outcome(api.get(1)), ids];
        """
    )
    assert listed == whole
    assert (listed["name"], listed["message"]) == ("ApiError", "The API repeats a page.")
    assert ids == [1]


def test_only_a_parameter_that_is_null_is_left_out(run: Run, server: ApiProxy) -> None:
    server.plan(LIST, EMPTY, EMPTY)
    run("await api.list({ limit: null, cursor: undefined, signal: null, previous: null })")
    run('await api.list({ limit: 0, cursor: "" })')
    assert server.lines() == [LIST, f"{LIST}?limit=0&cursor="]


def test_the_fetch_option_is_called_as_a_function(run: Run, server: ApiProxy) -> None:
    """A browser's own fetch throws if it is called as a method of another object."""
    server.plan(LIST, EMPTY, EMPTY)
    script = """
        const calls = [];
        function fetch(url, init) {
          calls.push([this === undefined || this === globalThis, init.signal]);
          return globalThis.fetch(url, init);
        }
        const api = jobsApi(url, () => "token", { fetch });
        await api.list({ previous: await api.list() });
        return calls.map(([asFunction, signal]) => [asFunction, signal.aborted]);
    """
    # The signal ends the body of the second response, which is not read.
    assert run(script) == [[True, True]] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-01 12:00:00.123456789 UTC", "2020-01-01T12:00:00.123Z"),
        ("2020-02-29 23:59:59 UTC", "2020-02-29T23:59:59.000Z"),
        ("2020-01-01T12:00:00Z", "2020-01-01T12:00:00.000Z"),
        ("2020-02-30 12:00:00.000000000 UTC", None),
        ("2020-13-01 12:00:00.000000000 UTC", None),
        ("2020-01-01 12:00:00.000000000 CET", None),
        ("on 2020-01-01 12:00:00 UTC", None),
        ("2020-01-01 12:00:00 UTC+2", None),
        ("", None),
        (None, None),
    ],
)
def test_job_date_reads_a_date_in_every_browser(
    text: str | None, expected: str | None, run: Run
) -> None:
    """Safari's Date takes only the form of the ECMAScript standard."""
    script = f"""
        const form = /^\\d{{4}}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{{3}})?Z$/;
        const {{ Date }} = globalThis;
        globalThis.Date = class extends Date {{
          constructor(text) {{
            super(form.test(text) ? text : NaN);
          }}
        }};
        const date = jobDate({json.dumps(text)});
        globalThis.Date = Date;
        return date;
    """
    assert run(script) == expected


def test_a_job_of_several_pages_is_put_together(run: Run, server: ApiProxy) -> None:
    parts = [
        {"job_info": {}, "results": {"a": 1}, "object_urls": {"a": "u"}, "next_cursor": "2"},
        {"job_info": {}, "results": {"b": 2}, "object_urls": {"b": "v"}},
        {"results": {"a": 1}, "next_cursor": "2"},
        {"results": {"b": 2}},
    ]
    server.plan(GET, *[Planned(200, json.dumps(part), {"ETag": '"a"'}) for part in parts])
    job, members, plain = run(
        """
        const job = await api.get(1, { include: "object-urls" });
        return [job, Object.keys(job), await api.get(1)];
        """
    )
    assert "next_cursor" not in members
    assert job == {
        "job_info": {},
        "results": {"a": 1, "b": 2},
        "object_urls": {"a": "u", "b": "v"},
        "etag": '"a"',
    }
    assert plain == {"results": {"a": 1, "b": 2}, "etag": '"a"'}
    assert server.lines() == [
        "GET /jobs/get?job-id=1&include=object-urls",
        "GET /jobs/get?job-id=1&include=object-urls&cursor=2",
        "GET /jobs/get?job-id=1",
        "GET /jobs/get?job-id=1&cursor=2",
    ]


NPM_PACKAGES = "typescript@5.9.3 @types/node@20.19.43"
TSC = (
    "node_modules/.bin/tsc --strict --exactOptionalPropertyTypes --skipLibCheck --target es2022 "
    "--module esnext --moduleResolution bundler --lib es2022,dom,dom.iterable"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CommonJS project with the client installed, and with what makes and checks types."""
    npm = find("npm", "npm")
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "commonjs"}')
    # Not a link: the client as it is published.
    install = f"{npm} install --silent --no-audit --no-fund --install-links"
    shell(f"{install} {shlex.quote(str(CLIENT))} {NPM_PACKAGES}", folder)
    return folder


def test_the_package_is_three_files_and_a_module_wherever_it_is(project: Path) -> None:
    package = project / "node_modules" / "jobs-api-client"
    assert {path.name for path in package.iterdir()} == {"api.d.ts", "api.js", "package.json"}
    # Newer versions of Node would find out what the package does not say.
    script = 'import("jobs-api-client").then(({ jobsApi }) => jobsApi("", () => ""))'
    shell(f"node --no-experimental-detect-module --eval {shlex.quote(script)}", project)


def test_the_package_has_the_version_of_openapi_yaml() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    assert f"\n  version: {package['version']}\n" in (ROOT / "openapi.yaml").read_text()


@pytest.mark.skipif("CI" not in os.environ, reason="CI is not set: it downloads the linters, 40 MB")
def test_the_package_passes_the_linters_of_packages(project: Path) -> None:
    npm_exec = "npm exec --yes --package=publint@0.3.25 --package=@arethetypeswrong/cli@0.18.5"
    # In a copy, in which packing writes.
    lint = "cp -r node_modules/jobs-api-client linted && publint --strict linted"
    lint += " && attw --pack linted --profile esm-only"
    shell(f"{npm_exec} --call {shlex.quote(lint)}", project)


def test_the_types_are_those_of_the_code(project: Path) -> None:
    """Checked with Node's types present, which differ from a browser's."""
    strict = f"{TSC} --types node --noUncheckedIndexedAccess --allowJs --checkJs"
    emit = "--declaration --emitDeclarationOnly --outDir made"
    shell(f"{strict} {emit} {shlex.quote(str(CLIENT / 'api.js'))}", project)
    made = (project / "made" / "api.d.ts").read_text()
    if "WRITE_TYPES" in os.environ:
        (CLIENT / "api.d.ts").write_text(made)
    assert (CLIENT / "api.d.ts").read_text() == made, "`make types` writes them"


CONSUMER = """
import type { components } from "./jobs-api";
import { ApiError, jobDate, jobsApi } from "jobs-api-client";
import type { JobStatus, JobsApi, KnownStatus } from "jobs-api-client";

type Schemas = components["schemas"];
type Same<One, Other> = [One, Other] extends [Other, One] ? true : false;
const api: JobsApi = jobsApi("https://api.example.com", async () => "token", { fetch });
type Response<Route extends keyof typeof api> = Awaited<ReturnType<(typeof api)[Route]>>;

// What api.js says of its responses is what the document says.
export const list: Same<Omit<Response<"list">, "etag">, Schemas["JobList"]> = true;
type WholeJob = Omit<Schemas["WholeJob"], "next_cursor">;
export const whole: Same<Omit<Response<"get">, "etag">, WholeJob> = true;
export const url: Same<Response<"objectUrl">, Schemas["ObjectUrl"]> = true;
export const status: Same<KnownStatus, Schemas["KnownStatus"]> = true;

export const statuses: JobStatus[] = ["success", "processing_40%", "one of tomorrow"];

export async function use(): Promise<string> {
  const { jobs, next_cursor } = await api.list({ limit: 20 });
  // With exactOptionalPropertyTypes too.
  await api.list({ cursor: next_cursor, signal: AbortSignal.timeout(1000) });
  await api.list({ limit: null, cursor: null, previous: null, signal: null });
  const date: Date | null = jobDate(jobs[0].date);
  try {
    const job = await api.get(jobs[0].job_id);
    // @ts-expect-error a job may have no name
    const name: string = job.job_info.job_name;
    return name + date + job.results["a.png"].full + (await api.objectUrl(1, "a.png")).url;
  } catch (error) {
    await api.delete(1);
    return error instanceof ApiError ? error.message : "";
  }
}
"""


def test_the_types_fit_those_made_from_openapi_yaml(project: Path) -> None:
    (project / "consumer.ts").write_text(CONSUMER)
    shutil.copy(ROOT / "openapi.yaml", project)
    [command] = re.findall("`(npx .+?)`", (ROOT / "docs" / "frontend.md").read_text())
    # npx keeps what it installs: 44 MB, for the next run.
    shell(command.replace("npx", "npx --yes"), project)
    # Without allowJs and Node's types, as most projects of a frontend are.
    shell(f"{TSC} --pretty --noEmit --typeRoots none jobs-api.d.ts consumer.ts", project)
