"""The page in a real browser: its session, caches, list of jobs, barriers and reference."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from dev import demo
from dev.emulated_aws import PASSWORD, create_user, log_in
from dev.page_server import page_server
from dev.processes import free_port, wait_for
from dev.run import local_api
from tests.support.api_proxy import Planned
from tests.support.commands import find, shell
from tests.support.page import FAILED_IN_PART, JOBS, NEW, QUEUED, WITH_IMAGES, Browser, Site
from tests.support.running_api import EMAIL, expired_token

# It looks for barriers to people with disabilities.
AXE = "axe-core@4.14.1"


def test_who_logs_in_sees_every_job(browser: Browser) -> None:
    browser.visit(token="")
    # The demo user's address and password are filled in.
    browser.see("#password").send_keys("x")
    browser.press("#log-in button")
    browser.see("#log-in .problem", "Incorrect username or password.")
    browser.type(PASSWORD + Keys.ENTER, "#password")
    row = browser.see("#list tbody tr", "Grüße aus Köln")
    assert browser.wait(browser.focused) == "Your jobs"
    assert browser.see("header #who").text == EMAIL
    assert browser.job_ids() == [f"Job {job_id}" for job_id in sorted(JOBS, reverse=True)]
    cells = [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")]
    assert cells[:2] == ["Grüße aus Köln\nJob 7", "Completed"]
    assert cells[3].endswith(" kB")
    assert cells[4] == "1.5"
    details = row.find_elements(By.CSS_SELECTOR, ".badge, time")
    hover = [detail.get_attribute("title") for detail in details]
    assert hover == ["Job completed successfully", "Jan 7, 2026, 12:00 PM"]
    assert browser.see("#list .count").text == f"{len(JOBS)} jobs"
    assert browser.see("#list .updated").text == "Updated now"


def test_ten_requests_cost_one_preflight(site: Site, browser: Browser) -> None:
    # A view that sends no requests of its own.
    browser.visit(token="")
    browser.see("#log-in")
    site.proxy.plan("GET /jobs/list")
    script = """
        const [url, token, done] = arguments;
        import("./api.js").then(async ({ jobsApi }) => {
          const api = jobsApi(url, () => token);
          const first = await api.list({ limit: 7 });
          const same = [];
          for (let count = 0; count < 9; count++) {
            same.push(await api.list({ limit: 7, previous: first }) === first);
          }
          done(same);
        });
    """
    same = browser.driver.execute_async_script(script, site.proxy.url, site.token)
    assert same == [True] * 9
    assert site.proxy.lines("OPTIONS") == ["OPTIONS /jobs/list?limit=7"]
    assert site.proxy.lines("GET") == ["GET /jobs/list?limit=7"] * 10
    # The browser revalidates by itself.
    assert site.statuses("GET /jobs/list")[-10:] == [200] + [304] * 9


def test_the_browsers_cache_gives_no_user_the_jobs_of_another(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    aws, pool, port = site.aws, site.pool, free_port()
    cognito = aws.client("cognito-idp")
    create_user(cognito, pool, "next@example.com")
    next_token = log_in(cognito, pool, "next@example.com")["IdToken"]
    api = f"http://127.0.0.1:{port}"
    routes = ["/jobs/list", f"/jobs/get?job-id={WITH_IMAGES}"]
    script = """
        const [urls, token, options, done] = arguments;
        const headers = token ? { Authorization: token } : {};
        Promise.all(urls.map((url) => fetch(url, { headers, ...options }).then(
          async (got) => [got.status, (await got.text()).includes("job_name")], () => null,
        ))).then(done);
    """

    def fetch(origin: str, token: str = "", **options: str) -> Any:
        """What a page of the origin gets of each route: status and whether it has jobs, or None."""
        home = f"{origin}/icon.svg"
        if browser.driver.current_url != home:
            browser.driver.get(home)
        urls = [api + route for route in routes]
        return browser.driver.execute_async_script(script, urls, token, options)

    with (
        # By default, pages of any origin may read the responses.
        local_api(aws, pool.arn, port, tmp_path / "api.log") as process,
        page_server(api, aws.endpoint, pool.client_id) as page,
        page_server(api, aws.endpoint, pool.client_id) as other_page,
    ):
        wait_for(f"{api}/jobs/list", process)
        assert fetch(page, site.token) == [[200, True]] * 2
        # Only a page of the API's own origin can read the cache without a request.
        for token, cached in ((site.token, [200, True]), (next_token, None), ("", None)):
            only = {"cache": "only-if-cached", "mode": "same-origin"}
            assert fetch(api, token, **only) == [cached] * 2
        for origin in (page, other_page):
            for token, statuses in ((next_token, [200, 404]), ("", [401, 401])):
                # Stored again: an error removes it from the cache.
                assert fetch(page, site.token) == [[200, True]] * 2
                own = [[status, False] for status in statuses]
                assert fetch(origin, token, cache="force-cache") == own


def test_a_token_that_has_expired_leads_back_to_the_log_in(site: Site, browser: Browser) -> None:
    browser.visit(f"#/jobs/{QUEUED}", expired_token(site.aws, site.pool))
    browser.see("#log-in .problem", "Your session has ended. Please log in again.")
    assert browser.focused() == "email"
    browser.type(EMAIL, "#email")
    browser.type(PASSWORD + Keys.ENTER, "#password")
    browser.see("#job h1", "Waiting")
    assert browser.seen(".problem") == []


def test_nothing_of_a_job_is_left_in_the_page_after_a_log_out(site: Site, browser: Browser) -> None:
    pages = [f"{site.url}/{query}#/jobs/{WITH_IMAGES}" for query in ("", "?again")]
    browser.visit()
    for page in pages:
        browser.driver.get(page)
        browser.see("#job h1", "Grüße aus Köln")
    browser.press("header button", "Log out")
    browser.wait(lambda: "Köln" not in browser.driver.page_source, "a page without the job")
    browser.see("#log-in")
    # The browser may have kept the page before this one as it was.
    browser.driver.back()
    browser.wait(lambda: browser.driver.current_url == pages[0])
    browser.wait(lambda: "Köln" not in browser.driver.page_source, "a page without the job")
    browser.see("#log-in")


def test_tabs_share_a_session_and_end_it_together(site: Site, browser: Browser) -> None:
    browser.visit()
    driver = browser.driver
    first = driver.current_window_handle
    link = browser.see("#list a", "Old scans")
    ActionChains(driver).key_down(Keys.CONTROL).click(link).key_up(Keys.CONTROL).perform()
    browser.wait(lambda: len(driver.window_handles) == 2)
    driver.switch_to.window(next(tab for tab in driver.window_handles if tab != first))
    browser.see("#job h1", "Old scans")
    browser.press("header button", "Log out")
    browser.see("#log-in")
    assert driver.current_url == f"{site.url}/"
    driver.close()
    driver.switch_to.window(first)
    browser.see("#log-in .problem", "Your session has ended.")
    assert "Old scans" not in driver.page_source


def test_an_api_that_cannot_be_reached_is_said_plainly(site: Site, browser: Browser) -> None:
    site.proxy.plan("GET /jobs/list", Planned(200, '{"jobs": [', cut=True))
    browser.visit()
    browser.see("#status", "The API cannot be reached. Trying again in 2 s …")
    # The notice goes with the retry that succeeds.
    browser.see("#list a")
    assert browser.seen("#status") == browser.seen(".problem") == []


def test_ten_thousand_jobs_are_searched_and_back_keeps_the_place(
    site: Site, browser: Browser
) -> None:
    """A list of 10,000 jobs in one response, without a job in progress."""
    jobs = [
        {"job_id": number, "job_name": f"Job of {number % 100} parts", "status": "success"}
        | {"date": f"2026-01-01 00:00:00.{number:09} UTC", "status_meaning": "Done"}
        | {"total_size": number, "credits_spent": 1, "progress": None, "finished": True}
        for number in range(10_000, 0, -1)
    ]
    many = Planned(200, json.dumps({"jobs": jobs}), {"ETag": '"many"'})
    site.proxy.plan("GET /jobs/list", many, many)
    browser.visit()
    browser.see("#list a")
    assert browser.see("#list .count").text == "10,000 jobs"
    assert len(browser.job_ids()) <= 200
    browser.press("#list [data-sort=size] button")
    assert browser.see("#list [data-sort=size]").get_attribute("aria-sort") == "ascending"
    assert browser.job_ids()[:2] == ["Job 1", "Job 2"]
    browser.type("OF 42", "#search")
    browser.driver.find_element(By.CSS_SELECTOR, "#filter option[value=good]").click()
    assert browser.see("#list .count").text == "100 of 10,000 jobs"
    browser.type("of", "#search")
    browser.press("#list .after")
    browser.see("#list .range", "Page 2 of 100")
    assert browser.job_ids()[0] == "Job 101"
    browser.press("#list .before")
    script = "arguments[0].scrollIntoView(); return scrollY"
    link = browser.see(f"#list a[href$='/jobs/{QUEUED}']")
    place = browser.run(script, link)
    link.click()
    browser.see("#job h1", "Waiting")
    browser.driver.back()
    assert browser.wait(lambda: "10 parts" in browser.focused())
    assert place == browser.run("return scrollY") > 100
    assert browser.see("#search").get_attribute("value") == "of"
    assert browser.see("#list .count").text == "10,000 jobs"
    browser.wait(lambda: len(site.proxy.lines("GET /jobs/list")) == 2)


def test_the_third_click_on_a_column_sorts_by_date_again(browser: Browser) -> None:
    """Narrow windows have no column of dates."""
    browser.visit()
    by_date = browser.wait(browser.job_ids)
    orders = []
    for _ in range(3):
        browser.press("#list [data-sort=name] button")
        orders.append(browser.job_ids())
    assert orders[0] == orders[1][::-1] != by_date
    assert orders[2] == by_date
    assert browser.driver.current_url.endswith("#")


def test_a_job_is_reached_by_the_keyboard_alone(browser: Browser) -> None:
    browser.visit()
    browser.see("#list a", "Old scans")
    reached: list[str] = []
    while "Old scans" not in reached and len(reached) < 12:
        browser.type(Keys.TAB)
        reached.append(browser.focused())
    assert reached[0] == "Refresh"
    browser.type(Keys.ENTER)
    browser.see("#job h1", "Old scans")


def test_an_empty_list_waits_for_the_first_job(site: Site, fast_browser: Browser) -> None:
    browser = fast_browser
    none = Planned(200, '{"jobs": []}', {"ETag": '"none"'})
    site.proxy.plan("GET /jobs/list", *[none] * 1000)
    browser.visit()
    browser.see("#list .blank", "No jobs yet")
    site.proxy.plan("GET /jobs/list")
    browser.see("#list a", "Old scans")
    browser.type("no such name", "#search")
    browser.see("#list .blank", "No job matches.")


def test_a_refresh_says_whether_anything_has_changed(site: Site, browser: Browser) -> None:
    browser.visit()
    browser.wait(lambda: len(browser.job_ids()) == len(JOBS))
    browser.press("#list .refresh")
    browser.see("#status", "Nothing has changed.")
    assert site.statuses("GET /jobs/list")[-1] == 304
    site.put_job(demo.Job("queued", "Brand new", ["new.png"]))
    browser.press("#list .refresh")
    browser.see("#status", "Up to date.")
    assert browser.job_ids()[:2] == [f"Job {NEW}", "Job 12"]
    browser.press("#list a", "Brand new")
    browser.see("#job .facts", "Waiting in the queue to be processed")
    browser.press("#job .refresh")
    browser.see("#status", "Nothing has changed.")
    assert site.statuses("GET /jobs/get")[-1] == 304
    site.table.delete_item(Key={"userId": site.alice, "jobId": NEW})
    browser.press("#job .refresh")
    browser.see("#job .blank", "This job is not there")


def test_a_name_without_spaces_fits_every_width(site: Site, browser: Browser) -> None:
    name = "x" * 255
    heights = "return [...document.querySelectorAll(arguments[0])].map((each) => each.offsetHeight)"
    site.put_job(demo.Job("success", name, [f"{name[4:]}.png", f"{name[4:]}.zip"]))
    browser.visit()
    for view, part in (("", "#list tbody tr"), (f"#/jobs/{NEW}", "#job .rows li")):
        browser.run("location.hash = arguments[0]", view)
        browser.see(part)
        for width in (320, 375, 768, 1200):
            browser.look(width)
            assert not browser.is_wider_than_the_window()
            if view:
                # Two lines of it.
                assert 60 < browser.run(heights, "#job h1")[0] < 90
            rows = browser.run(heights, "#list tbody tr")
            # The borders are not whole pixels.
            assert max(rows) - min(rows) <= 1


def test_markup_and_missing_values_are_shown_as_text(site: Site, browser: Browser) -> None:
    odd: dict[str, Any] = {"job_id": 1, "job_name": 5, "date": None, "total_size": -1}
    odd |= {"credits_spent": None, "progress": None, "finished": False}
    odd |= {"status": None, "status_meaning": "Unknown status"}
    markup = "<img src=x onerror=document.title='taken'>.exe"
    turned = markup.replace(".", "\u202e.")
    jobs = [odd, *(odd | {"job_name": name} for name in ("\u200b ", turned))]
    site.proxy.plan("GET /jobs/list", Planned(200, json.dumps({"jobs": jobs}), {"ETag": '"odd"'}))
    browser.visit()
    browser.see("#list a")
    assert [link.text for link in browser.seen("#list a")] == ["5", "Without a name", markup]
    cells = browser.see("#list tbody tr").find_elements(By.CSS_SELECTOR, "td")
    assert [cell.text for cell in cells] == ["Unknown", *["\u2013"] * 3, ""]
    names = {"u1.png": None, "u2.txt": 7, "u3.exe": turned}
    info = jobs[2] | {"email": None, "media_length": {}, "failed_to_process": {}}
    urls = dict.fromkeys(names, f"{site.url}/icon.svg")
    job = {"job_info": info | {"object_uuid_names": names}, "results": {}, "object_urls": urls}
    body = json.dumps(job | {"expires_at": "2099-01-01T00:00:00Z"})
    site.proxy.plan("GET /jobs/get", Planned(200, body, {"ETag": '"odd"'}))
    browser.press("#list a", markup)
    browser.see("#job h1", markup)
    assert browser.driver.title == f"{markup} · Jobs"
    assert [name.text for name in browser.seen("#files h3")] == [markup, "7", "u1.png"]


def test_the_reference_sends_requests_as_the_demo_user(site: Site, browser: Browser) -> None:
    browser.driver.get(f"{site.url}/reference/")
    browser.see(".servers", site.proxy.url)
    browser.press("#operations-jobs-getJob .opblock-summary-control")
    # Locked: the token is filled in.
    browser.see("#operations-jobs-getJob button.authorization__btn[aria-label$=' locked']")
    browser.press("#operations-jobs-getJob button.execute")
    body = browser.see("#operations-jobs-getJob .live-responses-table code", "job_info").text
    assert "Holiday, failed in part" in body


def test_every_view_is_accessible_and_fits(site: Site, browser: Browser, tmp_path: Path) -> None:
    shell(f"{find('npm', 'npm')} install --silent --no-audit --no-fund {AXE}", tmp_path)
    axe = (tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text()
    browser.visit(token="")
    # Every view is in this document.
    browser.run(axe)
    browser.see("#log-in")
    assert barriers(browser) == []
    browser.type(PASSWORD + Keys.ENTER, "#password")
    browser.see("#list .badge")
    assert barriers(browser) == []
    browser.run("location.hash = '#/jobs/99'")
    browser.see("#job .blank")
    assert barriers(browser) == []
    browser.run(f"location.hash = '#/jobs/{FAILED_IN_PART}'")
    browser.press("#job summary")
    browser.see("#job pre", "labels")
    failed = Planned(500, '{"message": "It went wrong."}', {"X-Request-Id": "1"})
    site.proxy.plan("GET /jobs/get-object-url", failed)
    browser.press("#job .download")
    browser.see("#job .problem button")
    assert barriers(browser) == []
    browser.press("#job .danger")
    browser.see("dialog")
    assert barriers(browser) == []


def barriers(browser: Browser) -> list[str]:
    """What axe-core finds in what is shown now, and whether it is wider than the window."""
    seen = []
    schemes = (("light", "none"), ("dark", "none"), ("dark", "active"))
    for width, (scheme, forced) in itertools.product((320, 1280), schemes):
        browser.look(width, scheme, forced)
        found = browser.driver.execute_async_script(
            """
            axe.run({ resultTypes: ["violations"] }).then(({ violations }) => arguments[0](
              violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))));
            """
        )
        seen += [f"{width} {scheme} {each}" for each in found]
        if browser.is_wider_than_the_window():
            seen.append(f"{width} {scheme}: wider than the window")
    return seen


@pytest.mark.skipif("SCREENSHOT" not in os.environ, reason="SCREENSHOT=docs/page.png asks for it")
def test_screenshot_for_the_readme(browser: Browser) -> None:
    browser.look(960)
    browser.visit()
    browser.see("#list a")
    pictures = [browser.driver.get_screenshot_as_base64()]
    browser.press("#list a", "Holiday, failed in part")
    browser.wait(lambda: len(browser.seen("#job .chips")) == 2)
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
