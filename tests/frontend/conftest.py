"""Chromium, and the page in it: once for all files that a process runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from dev.emulated_aws import (
    PASSWORD,
    TABLE,
    create_bucket,
    create_pool,
    create_table,
    create_user,
    emulated_aws,
    log_in,
)
from dev.page_server import page_server
from dev.processes import free_port, wait_for
from dev.run import local_api
from tests.support.api_proxy import api_proxy
from tests.support.commands import find
from tests.support.page import JOBS, NEW, Browser, Site
from tests.support.running_api import EMAIL


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def driver(downloads: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = find("chromium", "chromium")
    for flag in ("headless=new", "no-sandbox", "hide-scrollbars", "disable-component-update"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    # The driver's default allows what browsers block.
    options.add_experimental_option("excludeSwitches", ["disable-popup-blocking"])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, ChromeService(find("chromedriver", "chromium-driver"))) as driver:
        yield driver


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    with emulated_aws(folder) as aws:
        create_table(aws.client("dynamodb"))
        create_bucket(aws.client("s3"))
        cognito = aws.client("cognito-idp")
        pool = create_pool(cognito)
        alice = create_user(cognito, pool, EMAIL)
        table = aws.session.resource("dynamodb", endpoint_url=aws.endpoint).Table(TABLE)
        port = free_port()
        api = f"http://127.0.0.1:{port}"
        log = folder / "api.log"
        # When a window ends, URLs and ETags change: with the default, every five minutes.
        window = {"URL_WINDOW_SECONDS": "3600"}
        with (
            api_proxy(api) as proxy,
            page_server(proxy.url, aws.endpoint, pool.client_id, EMAIL, PASSWORD) as page,
            # Only this page's origin: so the browser itself shows that the setting is right.
            local_api(aws, pool.arn, port, log, ALLOWED_ORIGIN=page, **window) as process,
        ):
            token = log_in(cognito, pool, EMAIL)["IdToken"]
            site = Site(page, proxy, log, aws, pool, table, alice, token)
            for job_id, job in JOBS.items():
                site.put_job(job, job_id)
            wait_for(f"{api}/jobs/list", process)
            yield site


@pytest.fixture
def browser(site: Site, driver: Chrome, downloads: Path) -> Iterator[Browser]:
    """The browser, wide and light; what the page's policy refuses, and what it throws, fails."""
    browser = Browser(driver, site, downloads)
    browser.look(1200)
    browser.messages()
    yield browser
    # The page must not go on polling: it would get a response that the next test has planned.
    browser.run("for (let id = setTimeout(() => {}); id > 0; id--) clearTimeout(id)")
    site.table.delete_item(Key={"userId": site.alice, "jobId": NEW})
    assert [m for m in browser.messages() if "Security Policy" in m or "Uncaught" in m] == []


@pytest.fixture
def fast_browser(browser: Browser) -> Iterator[Browser]:
    """The browser, with the page's timers running six times as fast."""
    script = """
        const slowly = setTimeout;
        window.setTimeout = (work, ms, ...rest) => slowly(work, ms / 6, ...rest);
    """
    with browser.starting(script):
        yield browser
