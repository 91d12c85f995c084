"""The page of `make run` in a real browser: its own origin, real log in, presigned URLs."""

import itertools
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import urllib3
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from dev import demo
from dev.emulated_aws import (
    BUCKET,
    PASSWORD,
    TABLE,
    EmulatedAws,
    Pool,
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
from tests.support.api_proxy import ApiProxy, Planned, api_proxy
from tests.support.commands import find
from tests.support.running_api import EMAIL, expired_token

AXE = "axe-core@4.14.1"
WAIT_SECONDS = 120
FAILED_IN_PART, WITH_IMAGES, QUEUED = 6, 7, 10
# What a test puts, which is deleted after it.
NEW = 13
# Alice's jobs, by their ids.
JOBS = {
    FAILED_IN_PART: demo.Job(
        "success_credits_restored",
        "Holiday, failed in part",
        ["beach.png", "Straße.png", "raw.cr2"],
    ),
    WITH_IMAGES: demo.Job(
        "success", "Grüße aus Köln", ["Grüße aus Köln.png", "東京の夜.png", "garden.png"]
    ),
    8: demo.Job("processing_40%", "Street at night", ["street.png", "lamp.png"]),
    QUEUED: demo.Job("queued", "Waiting", ["waiting.png"]),
    12: demo.Job("archived_by_hand", "Old scans", ["old.png"]),
}
LOGIN, LIST, JOB = "#log-in", "#list", "#job"
LIST_ROUTE, GET, URL = "GET /jobs/list", "GET /jobs/get", "GET /jobs/get-object-url"

T = TypeVar("T")


class Running(NamedTuple):
    """The page, the API behind a proxy, and AWS; the token is Alice's, who has JOBS."""

    page: str
    proxy: ApiProxy
    api_log: Path
    aws: EmulatedAws
    pool: Pool
    alice: str
    token: str

    @property
    def table(self) -> Any:
        return self.aws.session.resource("dynamodb", endpoint_url=self.aws.endpoint).Table(TABLE)

    def put_job(self, job: demo.Job, job_id: int = NEW) -> None:
        item, objects = demo.job_data(self.alice, job_id, job)
        demo.put_objects(self.aws.endpoint, objects)
        self.table.put_item(Item=item)

    def statuses(self, route: str) -> list[int]:
        """The statuses of a route's responses so far, from the API's log."""
        lines = [line for line in self.api_log.read_text().splitlines() if line.startswith("{")]
        return [line["status"] for line in map(json.loads, lines) if line["route"] == route]


class Browser:
    """Chromium as a user has it: everything waits until it is there."""

    def __init__(self, driver: Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def visit(self, page: str, view: str = "", token: str | None = None) -> None:
        """Open a view of the page, logged in if a token is given."""
        self.driver.get(f"{page}/icon.svg")
        self.driver.execute_script("sessionStorage.clear()")
        if token:
            self.driver.execute_script("sessionStorage.setItem('token', arguments[0])", token)
        self.driver.get(f"{page}/{view}")

    def wait(self, condition: Callable[[], T], awaited: str = "") -> T:
        """What the condition gives as soon as that is true."""
        passing = (NoSuchElementException, StaleElementReferenceException)
        wait = WebDriverWait(self.driver, WAIT_SECONDS, 0.05, passing)
        return wait.until(lambda _: condition(), awaited)

    def seen(self, selector: str, text: str = "") -> list[WebElement]:
        """The visible elements of the selector that have the text in them."""
        # One script: WebDriver's own functions would be some requests for each element.
        script = r"""
            const textOf = ({ innerText }) => innerText.replace(/\n+/g, "\n").replace(/\xa0/g, " ");
            return [...document.querySelectorAll(arguments[0])].filter((element) =>
              element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
              && textOf(element).includes(arguments[1]));
        """
        found: list[WebElement] = self.driver.execute_script(script, selector, text)
        return found

    def see(self, selector: str, text: str = "") -> WebElement:
        """The first of them, once there is one."""
        found = self.wait(lambda: self.seen(selector, text), f"{selector} with the text {text!r}")
        return found[0]

    def press(self, selector: str, text: str = "") -> None:
        self.see(selector, text).click()

    def type(self, selector: str, text: str) -> None:
        field = self.see(selector)
        field.clear()
        field.send_keys(text)

    def focused(self) -> str:
        """The text of the element that has the focus, or its id."""
        element = self.driver.switch_to.active_element
        return element.text or str(element.get_attribute("id"))

    def job_ids(self) -> list[str]:
        script = "return [...document.querySelectorAll('#list .id')].map((id) => id.innerText)"
        job_ids: list[str] = self.driver.execute_script(script)
        return job_ids

    def image_widths(self) -> list[int]:
        script = "return [...document.querySelectorAll('.preview img')].map((i) => i.naturalWidth)"
        widths: list[int] = self.driver.execute_script(script)
        return widths

    def is_wider_than_the_window(self) -> bool:
        script = "return document.documentElement.scrollWidth > innerWidth"
        wider: bool = self.driver.execute_script(script)
        return wider

    def saved(self, name: str) -> bytes:
        """The bytes of a download. The browser first makes an empty file of that name."""
        path = self.downloads / name
        self.wait(lambda: path.exists() and path.stat().st_size > 0, f"the download {name!r}")
        return path.read_bytes()

    def messages(self) -> list[str]:
        """What the console says since the last time."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        return [entry["message"] for entry in entries]

    def look(self, width: int, scheme: str = "light", forced_colors: str = "none") -> None:
        """Be so many CSS pixels wide, in the light or the dark scheme."""
        metrics = {"width": width, "height": 980, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # A color that is still changing has a contrast of its own.
        features = {
            "prefers-color-scheme": scheme,
            "prefers-reduced-motion": "reduce",
            "forced-colors": forced_colors,
        }
        named = [{"name": name, "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    with emulated_aws(folder) as aws:
        create_table(aws.client("dynamodb"))
        create_bucket(aws.client("s3"))
        cognito = aws.client("cognito-idp")
        pool = create_pool(cognito)
        alice = create_user(cognito, pool, EMAIL)
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
            wait_for(f"{api}/jobs/list", process)
            token = log_in(cognito, pool, EMAIL)["IdToken"]
            running = Running(page, proxy, log, aws, pool, alice, token)
            for job_id, job in JOBS.items():
                running.put_job(job, job_id)
            yield running


@pytest.fixture
def browser(running: Running, driver: Chrome, downloads: Path) -> Iterator[Browser]:
    """The browser, wide and light; what the page's policy refuses, and what it throws, fails."""
    browser = Browser(driver, downloads)
    browser.look(1200)
    browser.messages()
    yield browser
    running.table.delete_item(Key={"userId": running.alice, "jobId": NEW})
    assert [m for m in browser.messages() if "Security Policy" in m or "Uncaught" in m] == []


@pytest.fixture
def fast_browser(browser: Browser) -> Iterator[Browser]:
    """The browser, with the page's timers running six times as fast."""
    script = """
        const slowly = setTimeout;
        window.setTimeout = (work, ms, ...rest) => slowly(work, ms / 6, ...rest);
    """
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = browser.driver.execute_cdp_cmd(command, {"source": script})
    yield browser
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_who_logs_in_sees_every_job(running: Running, browser: Browser) -> None:
    browser.visit(running.page)
    # The demo user's address and password are filled in.
    browser.see("#password").send_keys("x")
    browser.press(f"{LOGIN} button")
    browser.see(f"{LOGIN} .problem", "Incorrect username or password.")
    browser.type("#password", PASSWORD + Keys.ENTER)
    row = browser.see(f"{LIST} tbody tr", "Grüße aus Köln")
    assert browser.wait(browser.focused) == "Your jobs"
    assert browser.see("header #who").text == EMAIL
    assert browser.job_ids() == [f"Job {job_id}" for job_id in sorted(JOBS, reverse=True)]
    cells = [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")]
    assert cells[:2] == ["Grüße aus Köln\nJob 7", "Completed"]
    assert cells[3].endswith(" kB")
    assert cells[4] == "1.5"
    details = [row.find_element(By.CSS_SELECTOR, each) for each in (".badge", "time")]
    hover = [detail.get_attribute("title") for detail in details]
    assert hover == ["Job completed successfully", "Jan 7, 2026, 12:00 PM"]
    assert browser.see(f"{LIST} .count").text == f"{len(JOBS)} jobs"
    assert browser.see(f"{LIST} .updated").text == "Updated now"
    browser.press("header button", "Log out")
    browser.see(LOGIN)
    assert browser.job_ids() == []
    browser.driver.refresh()
    browser.see(LOGIN)


def test_one_request_shows_a_job_with_all_its_images(running: Running, browser: Browser) -> None:
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a", "Grüße aus Köln")
    running.proxy.plan(GET)
    browser.press(f"{LIST} a", "Grüße aus Köln")
    browser.see("#files h2", "3 files")
    browser.wait(lambda: browser.image_widths() == [160, 160, 160])
    assert running.proxy.lines("GET") == [f"{GET}?job-id={WITH_IMAGES}&include=object-urls"]
    assert browser.focused() == "Grüße aus Köln"
    assert browser.driver.title == "Grüße aus Köln · Jobs"
    # Without this a script could not read the image out of the browser's cache.
    assert browser.see(".preview img").get_attribute("crossorigin") == "anonymous"


def test_ten_thousand_jobs_are_searched_and_back_keeps_the_place(
    running: Running, browser: Browser
) -> None:
    """A list of 10,000 jobs in one response, without a job in progress."""
    jobs = [
        {"job_id": number, "job_name": f"Job of {number % 100} parts", "status": "success"}
        | {"date": f"2026-01-01 00:00:00.{number:09} UTC", "status_meaning": "Done"}
        | {"total_size": number, "credits_spent": 1, "progress": None, "finished": True}
        for number in range(10_000, 0, -1)
    ]
    many = Planned(200, json.dumps({"jobs": jobs}), {"ETag": '"many"'})
    running.proxy.plan(LIST_ROUTE, many, many)
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a")
    assert browser.see(f"{LIST} .count").text == "10,000 jobs"
    assert len(browser.job_ids()) <= 200
    browser.press(f"{LIST} [data-sort=size] button")
    assert browser.see(f"{LIST} [data-sort=size]").get_attribute("aria-sort") == "ascending"
    assert browser.job_ids()[:2] == ["Job 1", "Job 2"]
    browser.type("#search", "job OF 42 parts")
    browser.driver.find_element(By.CSS_SELECTOR, "#filter option[value=good]").click()
    assert browser.see(f"{LIST} .count").text == "100 of 10,000 jobs"
    browser.type("#search", "parts")
    browser.press(f"{LIST} .after")
    browser.see(f"{LIST} .range", "Page 2 of 100")
    assert browser.job_ids()[0] == "Job 101"
    browser.press(f"{LIST} .before")
    script = "arguments[0].scrollIntoView(); return scrollY"
    link = browser.see(f"{LIST} a[href$='/jobs/{QUEUED}']")
    place = browser.driver.execute_script(script, link)
    link.click()
    browser.see(f"{JOB} h1", "Waiting")
    browser.driver.back()
    assert browser.wait(lambda: "10 parts" in browser.focused())
    assert place == browser.driver.execute_script("return scrollY") > 100
    assert browser.see("#search").get_attribute("value") == "parts"
    assert browser.see(f"{LIST} .count").text == "10,000 jobs"
    browser.wait(lambda: len(running.proxy.lines(LIST_ROUTE)) == 2)


def test_ten_requests_cost_one_preflight(running: Running, browser: Browser) -> None:
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a")
    running.proxy.plan(LIST_ROUTE)
    script = f"""
        import("./api.js").then(async ({{ jobsApi }}) => {{
          const api = jobsApi("{running.proxy.url}", () => "{running.token}");
          const first = await api.list({{ limit: 7 }});
          const same = [];
          for (let count = 0; count < 9; count++) {{
            same.push(await api.list({{ limit: 7, previous: first }}) === first);
          }}
          arguments[0](same);
        }});
    """
    assert browser.driver.execute_async_script(script) == [True] * 9
    assert running.proxy.lines("OPTIONS") == ["OPTIONS /jobs/list?limit=7"]
    assert running.proxy.lines("GET") == [f"{LIST_ROUTE}?limit=7"] * 10
    # The browser revalidates by itself.
    assert running.statuses(LIST_ROUTE)[-10:] == [200] + [304] * 9


def test_the_browsers_cache_gives_no_user_the_jobs_of_another(
    running: Running, browser: Browser, tmp_path: Path
) -> None:
    aws, pool, port = running.aws, running.pool, free_port()
    cognito = aws.client("cognito-idp")
    create_user(cognito, pool, "next@example.com")
    next_token = log_in(cognito, pool, "next@example.com")["IdToken"]
    api = f"http://127.0.0.1:{port}"
    script = """
        const [url, token, options, done] = arguments;
        fetch(url, { headers: token ? { Authorization: token } : {}, ...options })
          .then(async (got) => [got.status, (await got.text()).includes("job_name")], () => null)
          .then(done);
    """

    def fetch(origin: str, url: str, token: str = "", **options: str) -> Any:
        """What a page of the origin gets: the status and whether jobs are in the body, or None."""
        browser.driver.get(f"{origin}/icon.svg")
        return browser.driver.execute_async_script(script, url, token, options)

    with (
        # By default, pages of any origin may read the responses.
        local_api(aws, pool.arn, port, tmp_path / "api.log") as process,
        page_server(api, aws.endpoint, pool.client_id) as page,
        page_server(api, aws.endpoint, pool.client_id) as other_page,
    ):
        wait_for(f"{api}/jobs/list", process)
        for path, status in (("/jobs/list", 200), (f"/jobs/get?job-id={WITH_IMAGES}", 404)):
            url = api + path
            assert fetch(page, url, running.token) == [200, True]
            # Only a page of the API's own origin can read the cache without a request.
            for token, cached in ((running.token, [200, True]), (next_token, None), ("", None)):
                only = {"cache": "only-if-cached", "mode": "same-origin"}
                assert fetch(api, url, token, **only) == cached
            for origin in (page, other_page):
                for token, own in ((next_token, [status, False]), ("", [401, False])):
                    # Stored again: an error removes it from the cache.
                    assert fetch(page, url, running.token) == [200, True]
                    assert fetch(origin, url, token, cache="force-cache") == own


def test_a_job_in_progress_is_followed_until_it_is_finished(
    running: Running, fast_browser: Browser
) -> None:
    browser, files = fast_browser, ["only.png"]
    poll_seconds = 0.5
    running.put_job(demo.Job("processing_40%", "In progress", files))
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} .badge", "40% done")
    running.put_job(demo.Job("processing_60%", "In progress", files))
    browser.see(f"{LIST} .badge", "60% done")
    browser.press(f"{LIST} a", "In progress")
    bar = browser.see(f"{JOB} progress")
    assert (bar.accessible_name, bar.get_attribute("value")) == ("Progress", "60")
    first = len(running.statuses(GET))
    running.put_job(demo.Job("processing_80%", "In progress", files))
    browser.wait(lambda: browser.see(f"{JOB} progress").get_attribute("value") == "80")
    # In a tab that is not seen nothing is requested.
    page = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    time.sleep(poll_seconds)
    seen = len(running.statuses(GET))
    time.sleep(2 * poll_seconds)
    assert len(running.statuses(GET)) == seen
    browser.driver.close()
    browser.driver.switch_to.window(page)
    browser.wait(lambda: len(running.statuses(GET)) > seen)
    assert running.statuses(GET)[-1] == 304
    running.put_job(demo.Job("success", "In progress", files))
    browser.see("#status", "Job completed successfully.")
    browser.see(f"{JOB} .result")
    assert browser.seen(f"{JOB} progress") == []
    finished = len(running.statuses(GET))
    assert finished > first
    time.sleep(2 * poll_seconds)
    assert len(running.statuses(GET)) == finished


def test_a_job_is_followed_after_another_try_too(running: Running, fast_browser: Browser) -> None:
    browser = fast_browser
    running.put_job(demo.Job("processing_40%", "In progress", []))
    running.proxy.plan(GET, Planned(500, '{"message": "It went wrong."}'))
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.press(f"{JOB} .problem button", "Try again")
    browser.see(f"{JOB} .badge", "40% done")
    running.put_job(demo.Job("processing_60%", "In progress", []))
    browser.see(f"{JOB} .badge", "60% done")


def test_an_empty_list_waits_for_the_first_job(running: Running, fast_browser: Browser) -> None:
    running.proxy.plan(LIST_ROUTE, Planned(200, '{"jobs": []}', {"ETag": '"none"'}))
    fast_browser.visit(running.page, token=running.token)
    fast_browser.see(f"{LIST} .blank", "No jobs yet")
    fast_browser.see(f"{LIST} a", "Old scans")


def test_the_third_click_on_a_column_sorts_by_date_again(
    running: Running, browser: Browser
) -> None:
    """Narrow windows have no column of dates."""
    browser.visit(running.page, token=running.token)
    by_date = browser.wait(browser.job_ids)
    orders = []
    for _ in range(3):
        browser.press(f"{LIST} [data-sort=name] button")
        orders.append(browser.job_ids())
    assert orders[0] == orders[1][::-1] != by_date
    assert orders[2] == by_date
    assert browser.driver.current_url == f"{running.page}/#"


def test_a_job_is_reached_by_the_keyboard_alone(running: Running, browser: Browser) -> None:
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a", "Old scans")
    reached: list[str] = []
    while "Old scans" not in reached and len(reached) < 12:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.focused())
    assert reached[0] == "Refresh"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.see(f"{JOB} h1", "Old scans")


def test_a_file_is_saved_under_its_original_name(running: Running, browser: Browser) -> None:
    names = ["Grüße aus Köln.png", "東京の夜.png", "photos/beach.png"]
    running.put_job(demo.Job("queued", "With folders", names))
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    for name in names:
        browser.press(f"[aria-label='Download {name}']")
        assert browser.saved(name.replace("/", "_")).startswith(b"\x89PNG")
    browser.see(JOB)


def test_a_download_arrives_long_after_the_click(running: Running, browser: Browser) -> None:
    browser.visit(running.page, f"#/jobs/{WITH_IMAGES}", running.token)
    (browser.downloads / "garden.png").unlink(missing_ok=True)
    # Five seconds after it, a browser no longer takes what happens for the user's will.
    running.proxy.plan(URL, Planned(seconds=5.5))
    browser.press("[aria-label='Download garden.png']")
    browser.see("#status", "“garden.png” is being downloaded.")
    browser.saved("garden.png")
    assert len(browser.driver.window_handles) == 1


def test_what_fails_is_said_where_the_user_acted(running: Running, browser: Browser) -> None:
    running.put_job(demo.Job("queued", "Emptied", ["gone.png", "there.txt"]))
    key = f"{running.alice}/{NEW}/{demo.object_uuid(NEW, 'gone.png')}"
    running.aws.client("s3").delete_object(Bucket=BUCKET, Key=key)
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.see(f"{JOB} .cards .preview span", "PNG")
    browser.press("[aria-label='Download gone.png']")
    browser.see(f"{JOB} .cards .problem", "This file does not exist.")
    failed = Planned(500, '{"message": "It went wrong."}', {"X-Request-Id": "number-one"})
    running.proxy.plan(URL, failed)
    browser.press("[aria-label='Download there.txt']")
    browser.see(f"{JOB} .rows .problem", "It went wrong.\nRequest id: number-one")
    browser.press(f"{JOB} .rows .problem button", "Try again")
    assert browser.saved("there.txt") == b"no image"
    assert browser.seen(f"{JOB} .rows .problem") == []
    assert browser.focused() == "Open"
    running.proxy.plan(GET, failed)
    browser.press(f"{JOB} .refresh")
    browser.see(f"{JOB} > .problem", "number-one")
    browser.press(f"{JOB} > .problem button")
    browser.wait(lambda: not browser.seen(f"{JOB} > .problem"))


def get(running: Running, job_id: int) -> Any:
    """The response of the API about a job."""
    headers = {"Authorization": running.token}
    job = f"{running.proxy.url}/jobs/get?job-id={job_id}&include=object-urls"
    return urllib3.request("GET", job, headers=headers).json()


def test_what_its_credentials_outlived_is_renewed(running: Running, browser: Browser) -> None:
    """The first response has URLs that have ended, as S3 tells it in two ways."""
    body = get(running, FAILED_IN_PART)
    ended = f"{running.proxy.url}/ended"
    body["results"] = {name: {"full": ended, "min": ended} for name in body["results"]}
    running.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"ended"'}))
    expired = "<Error><Code>ExpiredToken</Code></Error>"
    running.proxy.plan("GET /ended", Planned(400, expired), Planned(403, expired))
    browser.visit(running.page, f"#/jobs/{FAILED_IN_PART}", running.token)
    browser.wait(lambda: len(browser.seen(f"{JOB} .chips")) == 2)
    assert browser.seen(f"{JOB} .problem") == []

    # An image whose URL has ended is shown by a new one, without a click.
    body["object_urls"] = {name: f"{url}0" for name, url in body["object_urls"].items()}
    body["results"] = {}
    running.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"ended"'}))
    browser.driver.refresh()
    browser.wait(lambda: browser.image_widths() == [160, 160])
    assert len(running.proxy.lines(GET)) == 2


def test_a_result_that_is_not_json_says_so(running: Running, browser: Browser) -> None:
    running.put_job(demo.Job("success", "Broken", ["broken.png"]))
    key = f"{running.alice}/{NEW}/results/{demo.object_uuid(NEW, 'broken.png')}.min.json"
    running.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"<html>")
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.see(f"{JOB} .cards .problem", "This result is not valid JSON.")


def test_a_job_that_is_not_there_and_an_empty_list_say_what_to_do(
    running: Running, browser: Browser
) -> None:
    browser.visit(running.page, "#/jobs/99", running.token)
    browser.see(f"{JOB} h1", "Job 99")
    browser.see(f"{JOB} .blank", "This job is not there")
    assert browser.wait(browser.focused) == "Job 99"
    assert browser.driver.title == "Job 99 · Jobs"
    assert browser.seen(f"{JOB} .danger") == browser.seen(".problem") == []
    running.proxy.plan(LIST_ROUTE, Planned(200, '{"jobs": []}', {"ETag": '"none"'}))
    browser.press(f"{JOB} .back")
    browser.see(f"{LIST} .blank", "No jobs yet")
    browser.press(f"{LIST} .refresh")
    browser.see(f"{LIST} a", "Old scans")
    browser.type("#search", "no such name")
    browser.see(f"{LIST} .blank", "No job matches.")


def test_a_file_opens_in_a_tab_of_its_own(running: Running, browser: Browser) -> None:
    browser.visit(running.page, f"#/jobs/{WITH_IMAGES}", running.token)
    driver = browser.driver
    here = driver.current_window_handle
    browser.press("[aria-label='Open garden.png']")
    browser.wait(lambda: len(driver.window_handles) == 2)
    driver.switch_to.window(next(tab for tab in driver.window_handles if tab != here))
    browser.wait(lambda: driver.current_url.startswith(running.aws.endpoint))
    assert demo.object_uuid(WITH_IMAGES, "garden.png") in driver.current_url
    driver.close()
    driver.switch_to.window(here)


def test_results_are_read_and_failures_have_their_reason(
    running: Running, browser: Browser
) -> None:
    running.put_job(JOBS[FAILED_IN_PART])
    key = f"{running.alice}/{NEW}/results/{demo.object_uuid(NEW, 'Straße.png')}.min.json"
    shares = [{"label": "sky", "confidence": 0.93}]
    body = json.dumps({"labels": shares, "width": 1600})
    running.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.wait(lambda: len(browser.seen(f"{JOB} .result")) == 2)
    row = browser.see(f"{JOB} .rows li")
    assert row.text.startswith(f"CR2\nraw.cr2\nNot processed: {demo.FAILURE}")
    browser.wait(lambda: [li.text for li in browser.seen(f"{JOB} .chips li")] == ["sky", "house"])
    readable = browser.see(f"{JOB} .readable", "width")
    assert readable.text.split("\n") == ["labels", "sky", "93%", "width", "1,600"]
    meters = browser.seen(f"{JOB} meter")
    assert sorted(str(each.get_attribute("value")) for each in meters) == ["0.87", "0.93"]
    browser.press(f"{JOB} summary", "JSON")
    result = browser.see(f"{JOB} pre", "labels")
    assert json.loads(result.text) == {"labels": ["sky", "house"], "sharpness": 0.87}
    assert "\n" in result.text
    names = [each.accessible_name for each in browser.seen(".result a, summary")]
    assert "Full result beach.png" in names
    assert len(set(names)) == 4
    # Only an element with such a role can have a name.
    assert (result.aria_role, result.accessible_name) == ("group", "Result of beach.png")


def test_a_refresh_says_whether_anything_has_changed(running: Running, browser: Browser) -> None:
    browser.visit(running.page, token=running.token)
    browser.wait(lambda: len(browser.job_ids()) == len(JOBS))
    browser.press(f"{LIST} .refresh")
    browser.see("#status", "Nothing has changed.")
    assert running.statuses(LIST_ROUTE)[-1] == 304
    running.put_job(demo.Job("queued", "Brand new", ["new.png"]))
    browser.press(f"{LIST} .refresh")
    browser.see("#status", "Up to date.")
    assert browser.job_ids()[:2] == [f"Job {NEW}", "Job 12"]
    browser.press(f"{LIST} a", "Brand new")
    browser.see(f"{JOB} .facts", "Waiting in the queue to be processed")
    browser.press(f"{JOB} .refresh")
    browser.see("#status", "Nothing has changed.")
    assert running.statuses(GET)[-1] == 304
    running.table.delete_item(Key={"userId": running.alice, "jobId": NEW})
    browser.press(f"{JOB} .refresh")
    browser.see(f"{JOB} .blank", "This job is not there")


def test_a_job_is_deleted_only_when_confirmed(running: Running, browser: Browser) -> None:
    running.put_job(JOBS[WITH_IMAGES]._replace(name="To be deleted"))
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.press(f"{JOB} .danger")
    browser.see(
        "dialog", "“To be deleted”, its 3 files and all results will be deleted permanently."
    )
    assert browser.focused() == "Cancel"
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait(lambda: not browser.seen("dialog"))
    assert browser.focused() == "Delete …"
    browser.press(f"{JOB} .danger")
    browser.press("dialog .confirm")
    browser.see("#status", "“To be deleted” is deleted.")
    assert browser.wait(browser.job_ids)[0] == "Job 12"
    assert browser.focused() == "Your jobs"
    prefix = f"{running.alice}/{NEW}/"
    assert "Contents" not in running.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    running.put_job(demo.Job("queued", "To be deleted", []))
    browser.press(f"{LIST} .refresh")
    browser.press("[aria-label='Delete To be deleted']")
    browser.see("dialog", "“To be deleted”, its files and all results")
    browser.press("dialog .confirm")
    browser.wait(lambda: browser.focused() == "Old scans")
    assert browser.job_ids()[0] == "Job 12"


def test_a_token_that_has_expired_leads_back_to_the_log_in(
    running: Running, browser: Browser
) -> None:
    browser.visit(running.page, f"#/jobs/{QUEUED}", expired_token(running.aws, running.pool))
    browser.see(f"{LOGIN} .problem", "Your session has ended. Please log in again.")
    assert browser.focused() == "email"
    browser.type("#email", EMAIL)
    browser.type("#password", PASSWORD + Keys.ENTER)
    browser.see(f"{JOB} h1", "Waiting")
    assert browser.seen(".problem") == []


def test_nothing_of_a_job_is_left_in_the_page_after_a_log_out(
    running: Running, browser: Browser
) -> None:
    pages = [f"{running.page}/{query}#/jobs/{WITH_IMAGES}" for query in ("", "?again")]
    browser.visit(running.page, token=running.token)
    for page in pages:
        browser.driver.get(page)
        browser.see(f"{JOB} h1", "Grüße aus Köln")
    browser.press("header button", "Log out")
    browser.wait(lambda: "Köln" not in browser.driver.page_source, "a page without the job")
    browser.see(LOGIN)
    # The browser may have kept the page before this one as it was.
    browser.driver.back()
    browser.wait(lambda: browser.driver.current_url == pages[0])
    browser.wait(lambda: "Köln" not in browser.driver.page_source, "a page without the job")
    browser.see(LOGIN)


def test_an_api_that_cannot_be_reached_is_said_plainly(running: Running, browser: Browser) -> None:
    running.proxy.plan(LIST_ROUTE, Planned(200, '{"jobs": [', cut=True))
    browser.visit(running.page, token=running.token)
    browser.see("#status", "The API cannot be reached. Trying again in 2 s …")
    # The notice goes with the retry that succeeds.
    browser.see(f"{LIST} a")
    assert browser.seen("#status") == browser.seen(".problem") == []


def test_a_delete_that_gets_503_is_retried_in_time(running: Running, fast_browser: Browser) -> None:
    browser = fast_browser
    running.put_job(demo.Job("queued", "Busy", []))
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.press(f"{JOB} .danger")
    busy = Planned(503, '{"message": "The service is busy."}', {"Retry-After": "10"})
    running.proxy.plan("DELETE /jobs/delete", busy)
    browser.press("dialog .confirm")
    browser.see("dialog .note", "The service is busy. Trying again in 1")
    assert not browser.see("dialog .confirm").is_enabled()
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.see("dialog progress")
    browser.see("#status", "“Busy” is deleted.")
    assert len(running.proxy.lines("DELETE")) == 2


def test_a_job_of_more_results_than_one_response_holds_is_shown_whole(
    running: Running, browser: Browser
) -> None:
    # The files that are shown first have their results in the last response.
    names = {f"f{number:04}": f"part {8000 - number}" for number in range(8000)}
    item = {"userId": running.alice, "jobId": NEW, "objectUuidNames": names, "status": "success"}
    running.table.put_item(Item=item)
    before = len(running.statuses(GET))
    browser.visit(running.page, f"#/jobs/{NEW}", running.token)
    browser.see("#files h2", "8,000 files")
    assert running.statuses(GET)[before:] == [200, 200]
    browser.see("#files .more", "60 of 8,000 files …")
    assert len(browser.seen(f"{JOB} .result")) == 60
    browser.driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    browser.wait(lambda: len(browser.seen(f"{JOB} .result")) > 60)
    browser.press(f"{JOB} .refresh")
    browser.see("#status", "Nothing has changed.")


def test_a_name_without_spaces_fits_every_width(running: Running, browser: Browser) -> None:
    name = "x" * 255
    running.put_job(demo.Job("success", name, [f"{name[4:]}.png", f"{name[4:]}.zip"]))
    for view in ("", f"#/jobs/{NEW}"):
        browser.visit(running.page, view, running.token)
        browser.see(f"{JOB} .rows li" if view else f"{LIST} a")
        for width in (320, 375, 768, 1200):
            browser.look(width)
            assert not browser.is_wider_than_the_window()
            for heading in browser.seen(f"{JOB} h1"):
                # Two lines of it.
                assert 60 < heading.size["height"] < 90
            heights = {row.size["height"] for row in browser.seen(f"{LIST} tbody tr")}
            # The borders are not whole pixels.
            assert max(heights, default=0) - min(heights, default=0) <= 1


def test_what_no_writer_should_have_stored_is_shown_as_text(
    running: Running, browser: Browser
) -> None:
    odd: dict[str, Any] = {"job_id": 1, "job_name": 5, "date": None, "total_size": -1}
    odd |= {"credits_spent": None, "progress": None, "finished": False}
    odd |= {"status": None, "status_meaning": "Unknown status"}
    markup = "<img src=x onerror=document.title='taken'>.exe"
    turned = markup.replace(".", "\u202e.")
    jobs = [odd, *(odd | {"job_name": name} for name in ("\u200b ", turned))]
    running.proxy.plan(LIST_ROUTE, Planned(200, json.dumps({"jobs": jobs}), {"ETag": '"odd"'}))
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a")
    assert [link.text for link in browser.seen(f"{LIST} a")] == ["5", "Without a name", markup]
    cells = browser.see(f"{LIST} tbody tr").find_elements(By.CSS_SELECTOR, "td")
    assert [cell.text for cell in cells] == ["Unknown", *["\u2013"] * 3, ""]
    names = {"u1.png": None, "u2.txt": 7, "u3.exe": turned}
    info = jobs[2] | {"email": None, "media_length": {}, "failed_to_process": {}}
    urls = dict.fromkeys(names, f"{running.page}/icon.svg")
    job = {"job_info": info | {"object_uuid_names": names}, "results": {}, "object_urls": urls}
    body = json.dumps(job | {"expires_at": "2099-01-01T00:00:00Z"})
    running.proxy.plan(GET, Planned(200, body, {"ETag": '"odd"'}))
    browser.press(f"{LIST} a", markup)
    browser.see(f"{JOB} h1", markup)
    assert browser.driver.title == f"{markup} · Jobs"
    assert [name.text for name in browser.seen("#files h3")] == [markup, "7", "u1.png"]


def test_tabs_share_a_session_and_end_it_together(running: Running, browser: Browser) -> None:
    browser.visit(running.page, token=running.token)
    driver = browser.driver
    first = driver.current_window_handle
    link = browser.see(f"{LIST} a", "Old scans")
    ActionChains(driver).key_down(Keys.CONTROL).click(link).key_up(Keys.CONTROL).perform()
    browser.wait(lambda: len(driver.window_handles) == 2)
    driver.switch_to.window(next(tab for tab in driver.window_handles if tab != first))
    browser.see(f"{JOB} h1", "Old scans")
    browser.press("header button", "Log out")
    browser.see(LOGIN)
    assert driver.current_url == f"{running.page}/"
    driver.close()
    driver.switch_to.window(first)
    browser.see(f"{LOGIN} .problem", "Your session has ended.")
    assert "Old scans" not in driver.page_source


def test_a_thousand_images_load_as_they_come_into_view(running: Running, browser: Browser) -> None:
    body = get(running, WITH_IMAGES)
    uuids = [f"{number:04}.png" for number in range(1000)]
    body["job_info"]["object_uuid_names"] = {uuid: uuid for uuid in uuids}
    body["object_urls"] = {uuid: f"{running.page}/icon.svg?n={uuid}" for uuid in uuids}
    body["results"] = {}
    running.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"images"'}))
    browser.visit(running.page, f"#/jobs/{WITH_IMAGES}", running.token)
    browser.see("#files h2", "1,000 files")
    entries = "performance.getEntriesByType('resource')"
    loaded = f"return {entries}.filter((each) => each.name.includes('?n=')).length"
    browser.wait(lambda: browser.driver.execute_script(loaded) > 0)
    assert browser.driver.execute_script(loaded) < 60
    cards = "return document.querySelectorAll('.cards > li').length"
    assert browser.driver.execute_script(cards) < 1000
    scroll = "scrollTo(0, document.body.scrollHeight);"
    browser.wait(lambda: browser.driver.execute_script(scroll + cards) == 1000)
    assert browser.driver.execute_script(loaded) < 1000


def test_a_jobs_link_and_id_are_copied(running: Running, browser: Browser) -> None:
    browser.visit(running.page, f"#/jobs/{QUEUED}", running.token)
    for button, text in (("link", browser.driver.current_url), ("id", str(QUEUED))):
        browser.press(f"{JOB} .copy-{button}")
        browser.see("#status", "Copied.")
        permission = {"name": "clipboard-read"}
        settings = {"permission": permission, "setting": "granted", "origin": running.page}
        browser.driver.execute_cdp_cmd("Browser.setPermission", settings)
        script = "navigator.clipboard.readText().then(arguments[0])"
        assert browser.driver.execute_async_script(script) == text


def test_the_reference_sends_requests_as_the_demo_user(running: Running, browser: Browser) -> None:
    browser.driver.get(f"{running.page}/reference/")
    browser.see(".servers", running.proxy.url)
    browser.press("#operations-jobs-getJob .opblock-summary-control")
    # Locked: the token is filled in.
    browser.see("#operations-jobs-getJob button.authorization__btn[aria-label$=' locked']")
    browser.press("#operations-jobs-getJob button.execute")
    body = browser.see("#operations-jobs-getJob .live-responses-table code", "job_info").text
    assert "Holiday, failed in part" in body


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which looks for barriers to people with disabilities."""
    npm = find("npm", "npm")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, stdout=subprocess.PIPE)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def test_every_view_is_free_of_barriers_and_fits(
    running: Running, browser: Browser, axe: str
) -> None:
    browser.visit(running.page)
    browser.see(LOGIN)
    assert barriers(browser, axe) == []
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} .badge")
    assert barriers(browser, axe) == []
    browser.visit(running.page, "#/jobs/99", running.token)
    browser.see(f"{JOB} .blank")
    assert barriers(browser, axe) == []
    browser.visit(running.page, f"#/jobs/{FAILED_IN_PART}", running.token)
    browser.press(f"{JOB} summary")
    browser.see(f"{JOB} pre", "labels")
    running.proxy.plan(URL, Planned(500, '{"message": "It went wrong."}', {"X-Request-Id": "1"}))
    browser.press(f"{JOB} .download")
    browser.see(f"{JOB} .problem button")
    assert barriers(browser, axe) == []
    browser.press(f"{JOB} .danger")
    browser.see("dialog")
    assert barriers(browser, axe) == []


def barriers(browser: Browser, axe: str) -> list[str]:
    """What axe-core finds in what is shown now, and whether it is wider than the window."""
    browser.driver.execute_script(axe)
    seen = []
    schemes = (("light", "none"), ("dark", "none"), ("dark", "active"))
    for width, (scheme, forced) in itertools.product((320, 1280), schemes):
        browser.look(width, scheme, forced)
        # Of all rules only these have to do with colors.
        colors = {"runOnly": ["color-contrast", "link-in-text-block"]}
        found = browser.driver.execute_async_script(
            "axe.run(arguments[0]).then((found) => arguments[1](found.violations))",
            {"resultTypes": ["violations"], **(colors if scheme == "dark" else {})},
        )
        seen += [
            f"{width} {scheme} {v['id']}: {node['html']}" for v in found for node in v["nodes"]
        ]
        if browser.is_wider_than_the_window():
            seen.append(f"{width} {scheme}: wider than the window")
    return seen


@pytest.mark.skipif("SCREENSHOT" not in os.environ, reason="SCREENSHOT=docs/page.png asks for it")
def test_screenshot_for_the_readme(running: Running, browser: Browser) -> None:
    browser.look(960)
    browser.visit(running.page, token=running.token)
    browser.see(f"{LIST} a")
    pictures = [browser.driver.get_screenshot_as_base64()]
    browser.press(f"{LIST} a", "Holiday, failed in part")
    browser.wait(lambda: len(browser.seen(f"{JOB} .chips")) == 2)
    browser.wait(lambda: browser.image_widths() == [160, 160])
    pictures.append(browser.driver.get_screenshot_as_base64())
    # Side by side.
    browser.look(1936)
    browser.driver.get("about:blank")
    script = """
        document.body.style = "margin: 0; display: flex; gap: 16px";
        document.body.append(...arguments[0].map((picture) => Object.assign(
          new Image(960, 980), { src: `data:image/png;base64,${picture}` })));
        Promise.all([...document.images].map((image) => image.decode())).then(arguments[1]);
    """
    browser.driver.execute_async_script(script, pictures)
    assert browser.driver.save_screenshot(os.environ["SCREENSHOT"])
