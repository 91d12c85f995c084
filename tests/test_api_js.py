"""client/api.js in Node: retries, aborts, tokens, paging; and its types."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.package import ROOT
from tests.support.api_proxy import ApiProxy, Planned, api_proxy
from tests.support.commands import inline_commands

CLIENT = ROOT / "client"
LIST, GET, URL = "GET /jobs/list", "GET /jobs/get", "GET /jobs/get-object-url"
EMPTY = Planned(200, '{"jobs": []}', {"ETag": '"a"'})
BUSY = '{"message": "Busy."}'

NODE = shutil.which("node")
if not NODE and "CI" not in os.environ:
    pytest.skip("No Node.js was found", allow_module_level=True)


@pytest.fixture
def server() -> Iterator[ApiProxy]:
    with api_proxy() as server:
        yield server


def run(script: str, url: str) -> Any:
    """What the function body `script` returns, given jobsApi, ApiError, url and seen()."""
    assert NODE, "No Node.js was found, which runs api.js."
    program = f"""
        import {{ ApiError, jobsApi }} from {json.dumps((CLIENT / "api.js").as_uri())};
        const url = {json.dumps(url)};
        const api = jobsApi(url, () => "token");
        // What a promise comes to, and after how many seconds.
        async function outcome(promise) {{
          const start = performance.now();
          const seconds = () => (performance.now() - start) / 1000;
          return promise.then(
            (value) => ({{ value, seconds: seconds() }}),
            ({{ name, message, status, parameter, requestId, cause }}) =>
              ({{ name, message, status, parameter, requestId, cause: cause?.name,
                  seconds: seconds() }}),
          );
        }}
        console.log(JSON.stringify(await (async () => {{ {script} }})()));
    """
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_has_not_changed_is_the_previous_object_itself(server: ApiProxy) -> None:
    server.plan(LIST, EMPTY, Planned(304), Planned(200, '{"jobs": []}', {"ETag": '"b"'}))
    assert run(
        """
        const first = await api.list();
        const second = await api.list({ previous: first });
        const third = await api.list({ previous: second });
        return [first === second, second === third, third.etag];
        """,
        server.url,
    ) == [True, False, '"b"']
    sent = [request.headers.get("if-none-match") for request in server.requests]
    assert sent == [None, '"a"', '"a"']


def test_the_base_url_may_end_in_a_slash(server: ApiProxy) -> None:
    server.plan("GET /api/jobs/list", EMPTY, EMPTY)
    script = """
        for (const end of ["", "/"]) await jobsApi(`${url}/api${end}`, () => "token").list();
    """
    run(script + "return null", server.url)
    assert server.lines() == ["GET /api/jobs/list"] * 2


@pytest.mark.parametrize(
    ("first", "waited", "message"),
    [
        (Planned(503, BUSY, {"Retry-After": "1"}), 1, "Busy."),
        (Planned(502, "<html>"), 1, "The API responded with status 502."),
        (Planned(cut=True), 1, "The API cannot be reached."),
        (Planned(200, '{"jobs": [', cut=True), 1, "The API cannot be reached."),
    ],
    ids=["Retry-After", "no Retry-After", "no response", "half a response"],
)
def test_a_transient_error_is_retried(
    first: Planned, waited: float, message: str, server: ApiProxy
) -> None:
    server.plan(LIST, first, EMPTY)
    result = run(
        """
        const waits = [];
        const own = [];
        const pauses = [];
        const timer = setTimeout;
        function onWait(...wait) {
          own.push(wait);
          // The timer that comes next is the pause.
          globalThis.setTimeout = (resolve, ms) => {
            globalThis.setTimeout = timer;
            return timer(resolve, 0 * pauses.push(ms));
          };
        }
        const api = jobsApi(url, () => "token", { onWait: (...wait) => waits.push(wait) });
        const { jobs } = await api.list({ onWait });
        return { waits, own, pauses, jobs };
        """,
        server.url,
    )
    # The function of the request is called instead of the client's.
    assert result["waits"] == []
    assert result["own"] == [[waited + 1, message]]
    assert result["jobs"] == []
    [milliseconds] = result["pauses"]
    assert waited * 1000 <= milliseconds <= waited * 1250
    assert len(server.lines()) == 2


def test_retries_end_after_the_fourth_try(server: ApiProxy) -> None:
    busy = Planned(503, BUSY, {"Retry-After": "0.1", "X-Request-Id": "r1"})
    server.plan("DELETE /jobs/delete", *[busy] * 5)
    result = run(
        """
        let waits = 0;
        const api = jobsApi(url, () => "token", { onWait: () => waits++ });
        return { ...(await outcome(api.delete(1))), waits };
        """,
        server.url,
    )
    assert (result["name"], result["status"], result["waits"]) == ("ApiError", 503, 3)
    assert (result["message"], result["requestId"]) == ("Busy.", "r1")
    assert len(server.lines()) == 4


@pytest.mark.parametrize(
    ("planned", "waits"),
    [(Planned(503, BUSY, {"Retry-After": "60"}), 1), (Planned(seconds=60), 0)],
    ids=["while waiting for a retry", "while waiting for a response"],
)
def test_the_signal_ends_a_request_at_once(planned: Planned, waits: int, server: ApiProxy) -> None:
    server.plan(LIST, planned)
    # run() itself has a time-out: no timer may keep the process.
    result = run(
        """
        let waits = 0;
        const signal = AbortSignal.timeout(2000);
        return { ...(await outcome(api.list({ signal, onWait: () => waits++ }))), waits };
        """,
        server.url,
    )
    assert (result["name"], result["waits"]) == ("TimeoutError", waits)
    assert 1.5 <= result["seconds"] < 10


def test_a_request_has_a_time_out(server: ApiProxy) -> None:
    server.plan(LIST, Planned(seconds=60))
    result = run(
        'return outcome(jobsApi(url, () => "token", { timeoutSeconds: 0.3 }).list())', server.url
    )
    assert (result["name"], result["status"]) == ("ApiError", 0)
    assert result["message"] == "The API did not respond in time."
    assert result["cause"] == "TimeoutError"
    assert 0.2 <= result["seconds"] < 10


def test_an_error_has_what_the_response_says(server: ApiProxy) -> None:
    body = '{"message": "No.", "affected_query_parameter": "job-id: number"}'
    server.plan(GET, Planned(404, body, {"X-Request-Id": "r1"}), Planned(200, "<html>"))
    missing, page = run("return [await outcome(api.get(1)), await outcome(api.get(1))]", server.url)
    assert (missing["message"], missing["status"]) == ("No.", 404)
    assert (missing["parameter"], missing["requestId"]) == ("job-id: number", "r1")
    assert page["message"] == "The response is not the API's."
    assert page["cause"] == "SyntaxError"


@pytest.mark.parametrize(
    ("tokens", "refused", "statuses"),
    [
        (["old", "new"], [False, True], 200),
        (["old", "old"], [False, True], 401),
        ([None, None], [False, True], 401),
        (["old", "bad"], [False, True], 401),
    ],
    ids=["a fresh token", "the same token", "logged out", "refused twice"],
)
def test_a_401_requests_a_fresh_token_once(
    tokens: list[str | None], refused: list[bool], statuses: int, server: ApiProxy
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
        """,
        server.url,
    )
    assert result["calls"] == refused
    assert result.get("status", 200) == statuses
    # A token that was refused is not sent again, and where there is none, no header is sent.
    sent = [request.headers.get("authorization") for request in server.requests]
    expected = [tokens[0]] if tokens[0] == tokens[1] else tokens
    assert sent == expected


def test_at_most_six_requests_run_at_a_time(server: ApiProxy) -> None:
    response = Planned(200, '{"url": "u", "expires_at": "e"}', seconds=0.1)
    server.plan(URL, *[response] * 20)
    aborted, urls = run(
        """
        const names = Array.from({ length: 20 }, (_, index) => `${index}.png`);
        const stopped = new AbortController();
        const urls = outcome(Promise.all(names.map((name) => api.objectUrl(1, name))));
        const aborted = outcome(api.objectUrl(1, "21.png", { signal: stopped.signal }));
        stopped.abort();
        return [await aborted, await urls];
        """,
        server.url,
    )
    assert urls["value"] == [{"url": "u", "expires_at": "e"}] * 20
    assert server.most_at_a_time == 6
    # It does not wait for its turn.
    assert aborted["name"] == "AbortError"
    assert aborted["seconds"] < urls["seconds"] / 2
    assert len(server.lines()) == 20


def test_jobs_goes_through_every_page(server: ApiProxy) -> None:
    page = '{"jobs": [{"job_id": %d}], "next_cursor": "%d"}'
    last = Planned(200, '{"jobs": [{"job_id": 3}]}')
    server.plan(LIST, Planned(200, page % (1, 2)), Planned(200, page % (2, 3)), last)
    script = """
        const ids = [];
        for await (const { job_id } of api.jobs({ limit: 1 })) ids.push(job_id);
        return ids;
    """
    assert run(script, server.url) == [1, 2, 3]
    assert [line.partition("?")[2] for line in server.lines()] == [
        "limit=1",
        "limit=1&cursor=2",
        "limit=1&cursor=3",
    ]


def test_a_job_in_several_responses_is_put_together(server: ApiProxy) -> None:
    parts = [
        {"job_info": {}, "results": {"a": 1}, "object_urls": {"a": "u"}, "next_cursor": "2"},
        {"job_info": {}, "results": {"b": 2}, "object_urls": {"b": "v"}},
    ]
    server.plan(GET, *[Planned(200, json.dumps(part), {"ETag": '"a"'}) for part in parts])
    job, members = run(
        """
        const job = await api.get(1, { include: "object-urls" });
        return [job, Object.keys(job)];
        """,
        server.url,
    )
    assert "next_cursor" not in members
    assert job == {
        "job_info": {},
        "results": {"a": 1, "b": 2},
        "object_urls": {"a": "u", "b": "v"},
        "etag": '"a"',
    }
    assert server.lines() == [
        "GET /jobs/get?job-id=1&include=object-urls",
        "GET /jobs/get?job-id=1&include=object-urls&cursor=2",
    ]


NPM_PACKAGES = ("typescript@5.9.3", "@types/node@20.19.43", "openapi-typescript@7.13.0")
TSC = (
    "node_modules/.bin/tsc --strict --exactOptionalPropertyTypes --skipLibCheck --target es2022 "
    "--module esnext --moduleResolution bundler --lib es2022,dom,dom.iterable"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CommonJS project with the client installed, and with what makes and checks types."""
    if not (npm := shutil.which("npm")):
        if "CI" in os.environ:
            pytest.fail("No npm was found, which installs tsc.")
        pytest.skip("No npm was found, which installs tsc. Install Node.js.")
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "commonjs"}')
    # Not a link: the client as it is published.
    install = f"{npm} install --silent --no-audit --no-fund --install-links"
    shell(f"{install} {shlex.quote(str(CLIENT))} {' '.join(NPM_PACKAGES)}", folder)
    return folder


def shell(command: str, folder: Path) -> None:
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_three_files_and_a_module_wherever_it_is(project: Path) -> None:
    package = project / "node_modules" / "jobs-api-client"
    assert {path.name for path in package.iterdir()} == {"api.d.ts", "api.js", "package.json"}
    # Newer versions of Node would find out what the package does not say.
    node = f"{NODE} --no-experimental-detect-module --input-type=module"
    shell(f"{node} --eval 'import {{ jobsApi }} from \"jobs-api-client\"'", project)


def test_the_types_are_those_of_the_code(project: Path) -> None:
    """Checked with Node's types present, which differ from a browser's."""
    strict = f"{TSC} --types node --noUncheckedIndexedAccess --allowJs --checkJs"
    emit = "--declaration --emitDeclarationOnly --outDir made"
    shell(f"{strict} {emit} {shlex.quote(str(CLIENT / 'api.js'))}", project)
    made = (project / "made" / "api.d.ts").read_text()
    assert (CLIENT / "api.d.ts").read_text() == made, f"Make client/api.d.ts anew: {strict}"


CONSUMER = """
import type { components, paths } from "./jobs-api";
import { ApiError, jobsApi } from "jobs-api-client";

type Schemas = components["schemas"];
type Same<One, Other> = [One, Other] extends [Other, One] ? true : false;
const api = jobsApi("https://api.example.com", async () => "token");
type Response<Route extends keyof typeof api> = Awaited<ReturnType<(typeof api)[Route]>>;

// What api.js says of its responses is what the document says.
export const list: Same<Omit<Response<"list">, "etag">, Schemas["JobList"]> = true;
type WholeJob = Omit<Schemas["WholeJob"], "next_cursor">;
export const whole: Same<Omit<Response<"get">, "etag">, WholeJob> = true;
export const url: Same<Response<"objectUrl">, Schemas["ObjectUrl"]> = true;

export const query: paths["/jobs/get-object-url"]["get"]["parameters"]["query"] = {
  "job-id": 1,
  "object-uuid": "a.png",
  "download-as": "a b.png",
};
// @ts-expect-error job-id must be there
export const incomplete: typeof query = { "object-uuid": "a.png" };

export async function use(): Promise<string> {
  const { jobs, next_cursor } = await api.list({ limit: 20 });
  // With exactOptionalPropertyTypes too.
  await api.list({ cursor: next_cursor, signal: AbortSignal.timeout(1000) });
  try {
    const job = await api.get(jobs[0].job_id);
    // @ts-expect-error a job may have no name
    const name: string = job.job_info.job_name;
    return name + job.results["a.png"].full + (await api.objectUrl(1, "a.png")).url;
  } catch (error) {
    await api.delete(1);
    return error instanceof ApiError ? error.message : "";
  }
}
"""


def test_the_types_fit_those_made_from_the_document(project: Path) -> None:
    (project / "consumer.ts").write_text(CONSUMER)
    shutil.copy(ROOT / "openapi.yaml", project)
    [command] = [c for c in inline_commands(ROOT / "docs/frontend.md") if c.startswith("npx ")]
    # npx takes the version that is installed, which is the same.
    shell(command, project)
    # Without allowJs and Node's types, as most projects of a frontend are.
    shell(f"{TSC} --noEmit --typeRoots none jobs-api.d.ts consumer.ts", project)
