"""The list of jobs, in a real browser: its rows, search, sort order, pages and refresh."""

import json
from typing import Any

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from dev import demo
from tests.support.api_proxy import Planned
from tests.support.page import JOBS, NEW, QUEUED, Browser, Site


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
