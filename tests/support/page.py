"""The page of `make run` with the API and the AWS behind it, and the browser that shows it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from dev import demo
from dev.emulated_aws import EmulatedAws, Pool
from tests.support.api_proxy import ApiProxy

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

T = TypeVar("T")


class Site(NamedTuple):
    """The page, the API behind a proxy, and AWS; the token is Alice's, who has JOBS."""

    url: str
    proxy: ApiProxy
    api_log: Path
    aws: EmulatedAws
    pool: Pool
    table: Any
    alice: str
    token: str

    def put_job(self, job: demo.Job, job_id: int = NEW) -> None:
        item, objects = demo.job_data(self.alice, job_id, job)
        demo.put_objects(self.aws.endpoint, objects)
        self.table.put_item(Item=item)

    def statuses(self, route: str) -> list[int]:
        """The statuses of a route's responses so far, from the API's log."""
        lines = [line for line in self.api_log.read_text().splitlines() if line.startswith("{")]
        return [line["status"] for line in map(json.loads, lines) if line["route"] == route]


class Browser(NamedTuple):
    """Chromium as a user has it: everything waits until it is there."""

    driver: Chrome
    site: Site
    downloads: Path

    def visit(self, view: str = "", token: str | None = None) -> None:
        """Open a view of the page, as Alice if no token is given; with an empty one, logged out."""
        token = json.dumps(self.site.token if token is None else token)
        with self.starting(f"sessionStorage.clear(); if ({token}) sessionStorage.token = {token};"):
            # Another query: if only the view differed, the document would stay.
            self.driver.get(f"{self.site.url}/?{time.monotonic_ns()}{view}")

    @contextmanager
    def starting(self, script: str) -> Iterator[None]:
        """Every document begins with the script."""
        command = "Page.addScriptToEvaluateOnNewDocument"
        added = self.driver.execute_cdp_cmd(command, {"source": script})
        yield
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], T], awaited: str = "") -> T:
        """What the condition gives as soon as that is true."""
        wait = WebDriverWait(self.driver, WAIT_SECONDS, 0.1, [StaleElementReferenceException])
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
        found: list[WebElement] = self.run(script, selector, text)
        return found

    def see(self, selector: str, text: str = "") -> WebElement:
        """The first of them, once there is one."""
        found = self.wait(lambda: self.seen(selector, text), f"{selector} with the text {text!r}")
        return found[0]

    def press(self, selector: str, text: str = "") -> None:
        """Click on it; again if it has moved away meanwhile, because something above has loaded."""
        script = """
            const [element] = arguments;
            element.scrollIntoViewIfNeeded();
            window.missed = true;
            element.addEventListener("click", () => delete window.missed, { capture: true });
        """

        def click() -> bool:
            element = self.see(selector, text)
            self.run(script, element)
            # element.click() takes four times the processor time.
            ActionChains(self.driver, duration=0).click(element).perform()
            return not self.run("return window.missed")

        self.wait(click, f"a click on {selector} with the text {text!r}")

    def type(self, text: str, selector: str = "") -> None:
        """Type into the element that has the focus, or instead of what a field has."""
        if selector:
            self.run("arguments[0].focus(); arguments[0].select()", self.see(selector))
        ActionChains(self.driver, duration=0).send_keys(text).perform()

    def focused(self) -> str:
        """The text of the element that has the focus, or its id; nothing if none has it."""
        script = """
            const { activeElement, body } = document;
            return activeElement === body ? "" : activeElement.innerText.trim() || activeElement.id;
        """
        return str(self.run(script))

    def job_ids(self) -> list[str]:
        script = "return [...document.querySelectorAll('#list .id')].map((id) => id.innerText)"
        return list(self.run(script))

    def image_widths(self) -> list[int]:
        script = "return [...document.querySelectorAll('.preview img')].map((i) => i.naturalWidth)"
        return list(self.run(script))

    def is_wider_than_the_window(self) -> bool:
        return bool(self.run("return document.documentElement.scrollWidth > innerWidth"))

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
