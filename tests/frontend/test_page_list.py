"""The list of jobs, in a real browser: its rows, search, sort order, pages and refresh."""

import json
from typing import Any

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from dev import demo
from dev.emulated_aws import PASSWORD
from tests.support.api_proxy import Planned
from tests.support.page import GET, JOB, JOBS, LIST, LIST_ROUTE, LOGIN, NEW, QUEUED, Browser, Site
from tests.support.running_api import EMAIL


def test_who_logs_in_sees_every_job(browser: Browser) -> None:
    browser.visit(token="")
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
    site.proxy.plan(LIST_ROUTE, many, many)
    browser.visit()
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
    place = browser.run(script, link)
    link.click()
    browser.see(f"{JOB} h1", "Waiting")
    browser.driver.back()
    assert browser.wait(lambda: "10 parts" in browser.focused())
    assert place == browser.run("return scrollY") > 100
    assert browser.see("#search").get_attribute("value") == "parts"
    assert browser.see(f"{LIST} .count").text == "10,000 jobs"
    browser.wait(lambda: len(site.proxy.lines(LIST_ROUTE)) == 2)


def test_the_third_click_on_a_column_sorts_by_date_again(site: Site, browser: Browser) -> None:
    """Narrow windows have no column of dates."""
    browser.visit()
    by_date = browser.wait(browser.job_ids)
    orders = []
    for _ in range(3):
        browser.press(f"{LIST} [data-sort=name] button")
        orders.append(browser.job_ids())
    assert orders[0] == orders[1][::-1] != by_date
    assert orders[2] == by_date
    assert browser.driver.current_url == f"{site.url}/#"


def test_a_job_is_reached_by_the_keyboard_alone(browser: Browser) -> None:
    browser.visit()
    browser.see(f"{LIST} a", "Old scans")
    reached: list[str] = []
    while "Old scans" not in reached and len(reached) < 12:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.focused())
    assert reached[0] == "Refresh"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.see(f"{JOB} h1", "Old scans")


def test_an_empty_list_waits_for_the_first_job(site: Site, fast_browser: Browser) -> None:
    site.proxy.plan(LIST_ROUTE, Planned(200, '{"jobs": []}', {"ETag": '"none"'}))
    fast_browser.visit()
    fast_browser.see(f"{LIST} .blank", "No jobs yet")
    fast_browser.see(f"{LIST} a", "Old scans")


def test_a_refresh_says_whether_anything_has_changed(site: Site, browser: Browser) -> None:
    browser.visit()
    browser.wait(lambda: len(browser.job_ids()) == len(JOBS))
    browser.press(f"{LIST} .refresh")
    browser.see("#status", "Nothing has changed.")
    assert site.statuses(LIST_ROUTE)[-1] == 304
    site.put_job(demo.Job("queued", "Brand new", ["new.png"]))
    browser.press(f"{LIST} .refresh")
    browser.see("#status", "Up to date.")
    assert browser.job_ids()[:2] == [f"Job {NEW}", "Job 12"]
    browser.press(f"{LIST} a", "Brand new")
    browser.see(f"{JOB} .facts", "Waiting in the queue to be processed")
    browser.press(f"{JOB} .refresh")
    browser.see("#status", "Nothing has changed.")
    assert site.statuses(GET)[-1] == 304
    site.table.delete_item(Key={"userId": site.alice, "jobId": NEW})
    browser.press(f"{JOB} .refresh")
    browser.see(f"{JOB} .blank", "This job is not there")


def test_a_name_without_spaces_fits_every_width(site: Site, browser: Browser) -> None:
    name = "x" * 255
    site.put_job(demo.Job("success", name, [f"{name[4:]}.png", f"{name[4:]}.zip"]))
    for view in ("", f"#/jobs/{NEW}"):
        browser.visit(view)
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


def test_what_no_writer_should_have_stored_is_shown_as_text(site: Site, browser: Browser) -> None:
    odd: dict[str, Any] = {"job_id": 1, "job_name": 5, "date": None, "total_size": -1}
    odd |= {"credits_spent": None, "progress": None, "finished": False}
    odd |= {"status": None, "status_meaning": "Unknown status"}
    markup = "<img src=x onerror=document.title='taken'>.exe"
    turned = markup.replace(".", "\u202e.")
    jobs = [odd, *(odd | {"job_name": name} for name in ("\u200b ", turned))]
    site.proxy.plan(LIST_ROUTE, Planned(200, json.dumps({"jobs": jobs}), {"ETag": '"odd"'}))
    browser.visit()
    browser.see(f"{LIST} a")
    assert [link.text for link in browser.seen(f"{LIST} a")] == ["5", "Without a name", markup]
    cells = browser.see(f"{LIST} tbody tr").find_elements(By.CSS_SELECTOR, "td")
    assert [cell.text for cell in cells] == ["Unknown", *["\u2013"] * 3, ""]
    names = {"u1.png": None, "u2.txt": 7, "u3.exe": turned}
    info = jobs[2] | {"email": None, "media_length": {}, "failed_to_process": {}}
    urls = dict.fromkeys(names, f"{site.url}/icon.svg")
    job = {"job_info": info | {"object_uuid_names": names}, "results": {}, "object_urls": urls}
    body = json.dumps(job | {"expires_at": "2099-01-01T00:00:00Z"})
    site.proxy.plan(GET, Planned(200, body, {"ETag": '"odd"'}))
    browser.press(f"{LIST} a", markup)
    browser.see(f"{JOB} h1", markup)
    assert browser.driver.title == f"{markup} · Jobs"
    assert [name.text for name in browser.seen("#files h3")] == [markup, "7", "u1.png"]
