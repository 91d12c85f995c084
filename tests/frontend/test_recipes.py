"""client/recipes/: shown by docs/frontend.md, type-checked, and run where that needs no build."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from dev.emulated_aws import create_pool, emulated_aws
from tests.support import ROOT
from tests.support.api_proxy import ApiProxy, Planned, api_proxy
from tests.support.commands import AWS_CLI, documented_commands, needs_aws_cli, shell, uvx

RECIPES = ROOT / "client" / "recipes"
DOCUMENT = ROOT / "docs" / "frontend.md"
LIST = "GET /jobs/list"
EMPTY = Planned(200, '{"jobs": []}', {"Content-Type": "application/json"})
TSC = (
    "node_modules/.bin/tsc --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess "
    "--skipLibCheck --target es2022 --module esnext --moduleResolution bundler --jsx react-jsx "
    "--types react --outDir made"
)
# Takes the place of amplify.ts.
AMPLIFY = """
import { jobsApi } from "jobs-api-client";
export const apiUrl = process.env.API_URL;
export const idToken = async () => "token";
export const api = jobsApi(apiUrl, idToken);
"""
Run = Callable[[str], Any]


def test_the_document_shows_every_recipe_as_it_is() -> None:
    recipes = DOCUMENT.read_text().split("\n## Recipes\n")[1]
    shown = re.findall(r"^```tsx?\n(.+?)^```", recipes, re.DOTALL | re.MULTILINE)
    assert sorted(shown) == sorted(path.read_text() for path in RECIPES.glob("*.ts*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipes with the libraries that package.json pins, compiled: that checks their types."""
    if "CI" not in os.environ:
        pytest.skip("CI is not set: it downloads the recipes' libraries, 200 MB")
    folder = tmp_path_factory.mktemp("client") / "recipes"
    shutil.copytree(RECIPES, folder)
    for name in ("api.js", "api.d.ts", "package.json"):
        shutil.copy(ROOT / "client" / name, folder.parent)
    # Their peers, such as Vite, are for builds.
    install = "npm install --silent --no-audit --no-fund --install-links --ignore-scripts"
    shell(f"{install} --omit=optional --legacy-peer-deps", folder)
    openapi = shlex.quote(str(ROOT / "openapi.yaml"))
    shell(f"node_modules/.bin/openapi-typescript {openapi} -o jobs-api.d.ts", folder)
    worker = "service-worker.ts"
    pages = " ".join(path.name for path in folder.glob("*.ts*") if path.name != worker)
    shell(f"{TSC} --lib es2022,dom,dom.iterable {pages}", folder)
    shell(f"{TSC} --lib es2022,webworker {worker}", folder)
    made = folder / "made"
    (made / "amplify.js").write_text(AMPLIFY)
    for path in made.glob("*.js"):
        # Node, unlike bundlers, takes complete names only.
        path.write_text(path.read_text().replace('from "./amplify"', 'from "./amplify.js"'))
    return folder


@pytest.fixture
def servers() -> Iterator[tuple[ApiProxy, ApiProxy]]:
    """The API and S3."""
    with api_proxy() as api, api_proxy() as s3:
        yield api, s3


@pytest.fixture
def run(project: Path, servers: tuple[ApiProxy, ApiProxy]) -> Run:
    """The JSON of what a function body returns, run by Node next to the compiled recipes."""
    api, s3 = servers

    def run(script: str) -> Any:
        program = f"console.log(JSON.stringify(await (async () => {{ {script} }})()));"
        # Redux keeps data, and the process, for another minute.
        program += "process.exit();"
        done = subprocess.run(
            ["node", "--input-type=module", "--eval", program],
            cwd=project / "made",
            env={"PATH": os.environ["PATH"], "API_URL": api.url, "S3_URL": s3.url},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    "script",
    [
        """
        const { http } = await import("./axios.js");
        await http.get(process.env.S3_URL + "/file");
        """,
        """
        const { authorize } = await import("./angular.js");
        const request = (url) =>
          ({ url, clone: ({ setHeaders: headers }) => ({ url, headers }) });
        const send = ({ url, headers }) => fetch(url, { headers });
        await new Promise((resolve) =>
          authorize(request(process.env.API_URL + "/jobs/list"), send).subscribe(resolve));
        await authorize(request(process.env.S3_URL + "/file"), send);
        """,
    ],
    ids=["axios", "angular"],
)
def test_only_the_api_gets_the_token(
    script: str, run: Run, servers: tuple[ApiProxy, ApiProxy]
) -> None:
    api, s3 = servers
    api.plan(LIST, EMPTY)
    s3.plan("GET /file", EMPTY)
    run(script + "return true;")
    [listed], [opened] = api.requests, s3.requests
    assert listed.headers["authorization"] == "Bearer token"
    assert "authorization" not in opened.headers


def test_openapi_fetch_sends_the_token(run: Run, servers: tuple[ApiProxy, ApiProxy]) -> None:
    api, _ = servers
    api.plan(LIST, EMPTY)
    assert run('return (await import("./openapi-fetch.js")).data') == {"jobs": []}
    [request] = api.requests
    assert request.line == f"{LIST}?limit=20"
    assert request.headers["authorization"] == "Bearer token"


def test_redux_gets_plain_objects_only(run: Run, servers: tuple[ApiProxy, ApiProxy]) -> None:
    """What it says of others goes to stderr, which has to be empty."""
    api, _ = servers
    api.plan(LIST, EMPTY, Planned(400, '{"message": "No."}'))
    script = """
        const { configureStore } = await import("@reduxjs/toolkit");
        const { jobs } = await import("./rtk-query.js");
        const store = configureStore({
          reducer: { [jobs.reducerPath]: jobs.reducer },
          middleware: (defaults) => defaults().concat(jobs.middleware),
        });
        const load = () => store.dispatch(jobs.endpoints.list.initiate(undefined, {
          forceRefetch: true, subscribe: false }));
        return [(await load()).data, (await load()).error];
    """
    assert run(script) == [{"jobs": []}, {"name": "ApiError", "message": "No.", "status": 400}]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("null", [0, None]),
        ('{ id_token: "old" }', [0, "Bearer old"]),
        ('{ id_token: "old", refresh_token: "r" }', [1, "Bearer new"]),
    ],
    ids=["logged out", "without a refresh token", "with one"],
)
def test_the_hosted_uis_token_is_renewed_only_by_a_refresh_token(
    stored: str, expected: list[Any], run: Run
) -> None:
    script = f"""
        const statuses = [401, 200];
        let sent;
        let renewals = 0;
        globalThis.fetch = async (_, {{ headers }}) => {{
          sent = headers.get("Authorization");
          return new Response('{{"jobs": []}}', {{ status: statuses.shift() }});
        }};
        const {{ api, users }} = await import("./hosted-ui.js");
        users.getUser = async () => ({stored});
        users.signinSilent = async () => ({{ id_token: "new", renewals: ++renewals }});
        await api.list().catch(() => {{}});
        return [renewals, sent];
    """
    assert run(script) == expected


def test_a_status_and_a_date_are_shown_in_another_language(run: Run) -> None:
    script = """
        const { day, label } = await import("./labels.js");
        const statuses = [["success", null], ["processing_40%", 40], ["new", null]];
        return [
          ...statuses.map(([status, progress]) => label({ status, progress })),
          day({ date: "2026-01-12 12:00:00.000000000 UTC" }), day({ date: null }),
        ];
    """
    assert run(script) == ["Fertig", "In Arbeit, 40 %", "Unbekannt", "12.1.2026", ""]


def test_the_service_worker_stores_an_image_once_whatever_its_query(
    project: Path, servers: tuple[ApiProxy, ApiProxy], driver: Chrome
) -> None:
    page, s3 = servers
    script = (project / "made" / "service-worker.js").read_text()
    page.plan("GET /", *[Planned(200, "<title>Page</title>", {"Content-Type": "text/html"})] * 2)
    javascript = {"Content-Type": "text/javascript"}
    page.plan("GET /service-worker.js", *[Planned(200, script, javascript)] * 2)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    image = Planned(200, svg, {"Content-Type": "image/svg+xml"})
    for name in ("a", "b"):
        s3.plan(f"GET /bucket/alice/1/{name}.svg", image, image)
    driver.get(page.url)
    load = """
        const [s3, done] = arguments;
        const loaded = (name, query, crossOrigin) => new Promise((resolve) => {
          const image = Object.assign(new Image(), { crossOrigin, onload: resolve });
          image.src = `${s3}/bucket/alice/1/${name}.svg?X-Amz-Signature=${query}`;
        });
        (async () => {
          await navigator.serviceWorker.register("/service-worker.js", { type: "module" });
          await navigator.serviceWorker.ready;
          if (!navigator.serviceWorker.controller) return done(null);
          await loaded("a", 1, "anonymous");
          // It is stored while it is shown.
          while (!(await caches.match(`${s3}/bucket/alice/1/a.svg`)));
          await loaded("a", 2, "anonymous");
          for (const query of [1, 2]) await loaded("b", query, null);
          done(await caches.keys());
        })();
    """
    driver.execute_async_script(load, s3.url)
    # A worker serves the pages that are opened after it.
    driver.refresh()
    names = driver.execute_async_script(load, s3.url)
    assert names == [f"jobs-{s3.url}/bucket/alice"]
    # What came without CORS is not stored.
    queries = [line.rpartition("/")[2] for line in s3.lines()]
    assert queries == [f"{image}.svg?X-Amz-Signature={n}" for image, n in ("a1", "b1", "b2")]


@needs_aws_cli
def test_the_commands_prepare_a_pool_for_its_hosted_ui(tmp_path: Path) -> None:
    with emulated_aws(tmp_path, SERVICES="cognito-idp") as aws:
        cognito = aws.client("cognito-idp")
        pool_id = create_pool(cognito).arn.rpartition("/")[2]
        for command in documented_commands(DOCUMENT):
            if command.startswith("aws "):
                filled_in = command.replace("<UserPoolId>", pool_id).replace("<name>", "jobs")
                subprocess.run(
                    uvx(AWS_CLI, *shlex.split(filled_in)),
                    env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **aws.environ},
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
        clients = cognito.list_user_pool_clients(UserPoolId=pool_id)["UserPoolClients"]
        [client_id] = [each["ClientId"] for each in clients if each["ClientName"] == "hosted-ui"]
        client = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)
        assert client["UserPoolClient"]["AllowedOAuthFlows"] == ["code"]
        assert cognito.describe_user_pool_domain(Domain="jobs")["DomainDescription"]
