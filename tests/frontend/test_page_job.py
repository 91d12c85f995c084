"""One job in a real browser: its facts, files, results and deletion, with presigned URLs."""

import json
import time
from typing import Any

import urllib3
from selenium.webdriver import Keys

from dev import demo
from dev.emulated_aws import BUCKET
from tests.support.api_proxy import Planned
from tests.support.page import FAILED_IN_PART, JOBS, NEW, QUEUED, WITH_IMAGES, Browser, Site

GET = "GET /jobs/get"


def test_one_request_shows_a_job_with_all_its_images(site: Site, browser: Browser) -> None:
    browser.visit()
    browser.see("#list a", "Grüße aus Köln")
    site.proxy.plan(GET)
    browser.press("#list a", "Grüße aus Köln")
    browser.see("#files h2", "3 files")
    browser.wait(lambda: browser.image_widths() == [160, 160, 160])
    assert site.proxy.lines("GET") == [f"{GET}?job-id={WITH_IMAGES}&include=object-urls"]
    assert browser.focused() == "Grüße aus Köln"
    assert browser.driver.title == "Grüße aus Köln · Jobs"
    # Without this a script could not read the image out of the browser's cache.
    assert browser.see(".preview img").get_attribute("crossorigin") == "anonymous"


def test_a_job_in_progress_is_followed_until_it_is_finished(
    site: Site, fast_browser: Browser
) -> None:
    browser, files, poll_seconds = fast_browser, ["only.png"], 0.5
    site.put_job(demo.Job("processing_40%", "In progress", files))
    browser.visit()
    browser.see("#list .badge", "40% done")
    site.put_job(demo.Job("processing_60%", "In progress", files))
    browser.see("#list .badge", "60% done")
    browser.press("#list a", "In progress")
    bar = browser.see("#job progress")
    assert (bar.accessible_name, bar.get_attribute("value")) == ("Progress", "60")
    site.put_job(demo.Job("processing_80%", "In progress", files))
    browser.wait(lambda: browser.see("#job progress").get_attribute("value") == "80")
    # In a tab that is not seen nothing is requested.
    page = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    time.sleep(poll_seconds)
    seen = len(site.statuses(GET))
    time.sleep(2 * poll_seconds)
    assert len(site.statuses(GET)) == seen
    browser.driver.close()
    browser.driver.switch_to.window(page)
    browser.wait(lambda: len(site.statuses(GET)) > seen)
    assert site.statuses(GET)[-1] == 304
    site.put_job(demo.Job("success", "In progress", files))
    browser.see("#status", "Job completed successfully.")
    browser.see("#job .result")
    assert browser.seen("#job progress") == []
    finished = len(site.statuses(GET))
    time.sleep(2 * poll_seconds)
    assert len(site.statuses(GET)) == finished


def test_a_job_is_followed_after_another_try_too(site: Site, fast_browser: Browser) -> None:
    browser = fast_browser
    site.put_job(demo.Job("processing_40%", "In progress", []))
    site.proxy.plan(GET, Planned(500, '{"message": "It went wrong."}'))
    browser.visit(f"#/jobs/{NEW}")
    browser.press("#job .problem button", "Try again")
    browser.see("#job .badge", "40% done")
    site.put_job(demo.Job("processing_60%", "In progress", []))
    browser.see("#job .badge", "60% done")


def test_a_job_that_is_not_there_says_so_and_leads_back(browser: Browser) -> None:
    browser.visit("#/jobs/99")
    browser.see("#job h1", "Job 99")
    browser.see("#job .blank", "This job is not there")
    assert browser.wait(browser.focused) == "Job 99"
    assert browser.driver.title == "Job 99 · Jobs"
    assert browser.seen("#job .danger") == browser.seen(".problem") == []
    browser.press("#job .back")
    browser.see("#list a", "Old scans")


def test_a_jobs_link_and_id_are_copied(site: Site, browser: Browser) -> None:
    browser.visit(f"#/jobs/{QUEUED}")
    for button, text in (("link", browser.driver.current_url), ("id", str(QUEUED))):
        browser.press(f"#job .copy-{button}")
        browser.see("#status", "Copied.")
        permission = {"name": "clipboard-read"}
        settings = {"permission": permission, "setting": "granted", "origin": site.url}
        browser.driver.execute_cdp_cmd("Browser.setPermission", settings)
        script = "navigator.clipboard.readText().then(arguments[0])"
        assert browser.driver.execute_async_script(script) == text


def test_a_job_is_deleted_only_when_confirmed(site: Site, browser: Browser) -> None:
    site.put_job(JOBS[WITH_IMAGES]._replace(name="To be deleted"))
    browser.visit(f"#/jobs/{NEW}")
    browser.press("#job .danger")
    browser.see(
        "dialog", "“To be deleted”, its 3 files and all results will be deleted permanently."
    )
    assert browser.focused() == "Cancel"
    browser.type(Keys.ESCAPE)
    browser.wait(lambda: not browser.seen("dialog"))
    assert browser.focused() == "Delete …"
    browser.press("#job .danger")
    browser.press("dialog .confirm")
    browser.see("#status", "“To be deleted” is deleted.")
    assert browser.wait(browser.job_ids)[0] == "Job 12"
    assert browser.focused() == "Your jobs"
    prefix = f"{site.alice}/{NEW}/"
    assert "Contents" not in site.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    site.put_job(demo.Job("queued", "To be deleted", []))
    browser.press("#list .refresh")
    browser.press("[aria-label='Delete To be deleted']")
    browser.see("dialog", "“To be deleted”, its files and all results")
    browser.press("dialog .confirm")
    browser.wait(lambda: browser.focused() == "Old scans")
    assert browser.job_ids()[0] == "Job 12"


def test_a_delete_that_gets_503_is_retried_in_time(site: Site, fast_browser: Browser) -> None:
    browser = fast_browser
    site.put_job(demo.Job("queued", "Busy", []))
    browser.visit(f"#/jobs/{NEW}")
    browser.press("#job .danger")
    busy = Planned(503, '{"message": "The service is busy."}', {"Retry-After": "10"})
    site.proxy.plan("DELETE /jobs/delete", busy)
    browser.press("dialog .confirm")
    browser.see("dialog .note", "The service is busy. Trying again in 1")
    assert not browser.see("dialog .confirm").is_enabled()
    browser.type(Keys.ESCAPE)
    browser.see("dialog progress")
    browser.see("#status", "“Busy” is deleted.")
    assert len(site.proxy.lines("DELETE")) == 2


def test_a_file_is_saved_under_its_original_name(site: Site, browser: Browser) -> None:
    names = ["Grüße aus Köln.png", "東京の夜.png", "photos/beach.png"]
    site.put_job(demo.Job("queued", "With folders", names))
    browser.visit(f"#/jobs/{NEW}")
    for name in names:
        browser.press(f"[aria-label='Download {name}']")
        assert browser.saved(name.replace("/", "_")).startswith(b"\x89PNG")
    browser.see("#job")


def test_a_download_arrives_long_after_the_click(site: Site, browser: Browser) -> None:
    browser.visit(f"#/jobs/{WITH_IMAGES}")
    (browser.downloads / "garden.png").unlink(missing_ok=True)
    # Five seconds after it, a browser no longer takes what happens for the user's will.
    site.proxy.plan("GET /jobs/get-object-url", Planned(seconds=5.5))
    browser.press("[aria-label='Download garden.png']")
    browser.see("#status", "“garden.png” is being downloaded.")
    browser.saved("garden.png")
    assert len(browser.driver.window_handles) == 1


def test_a_file_opens_in_a_tab_of_its_own(site: Site, browser: Browser) -> None:
    browser.visit(f"#/jobs/{WITH_IMAGES}")
    driver = browser.driver
    here = driver.current_window_handle
    browser.press("[aria-label='Open garden.png']")
    browser.wait(lambda: len(driver.window_handles) == 2)
    driver.switch_to.window(next(tab for tab in driver.window_handles if tab != here))
    browser.wait(lambda: driver.current_url.startswith(site.aws.endpoint))
    assert demo.object_uuid(WITH_IMAGES, "garden.png") in driver.current_url
    driver.close()
    driver.switch_to.window(here)


def test_an_error_is_shown_where_the_user_acted(site: Site, browser: Browser) -> None:
    site.put_job(demo.Job("queued", "Emptied", ["gone.png", "there.txt"]))
    key = f"{site.alice}/{NEW}/{demo.object_uuid(NEW, 'gone.png')}"
    site.aws.client("s3").delete_object(Bucket=BUCKET, Key=key)
    browser.visit(f"#/jobs/{NEW}")
    browser.see("#job .cards .preview span", "PNG")
    browser.press("[aria-label='Download gone.png']")
    browser.see("#job .cards .problem", "This file does not exist.")
    failed = Planned(500, '{"message": "It went wrong."}', {"X-Request-Id": "number-one"})
    site.proxy.plan("GET /jobs/get-object-url", failed)
    browser.press("[aria-label='Download there.txt']")
    browser.see("#job .rows .problem", "It went wrong.\nRequest id: number-one")
    browser.press("#job .rows .problem button", "Try again")
    assert browser.saved("there.txt") == b"no image"
    assert browser.seen("#job .rows .problem") == []
    assert browser.focused() == "Open"
    site.proxy.plan(GET, failed)
    browser.press("#job .refresh")
    browser.see("#job > .problem", "number-one")
    browser.press("#job > .problem button")
    browser.wait(lambda: not browser.seen("#job > .problem"))


def get(site: Site, job_id: int) -> Any:
    """The response of the API about a job."""
    headers = {"Authorization": site.token}
    job = f"{site.proxy.url}/jobs/get?job-id={job_id}&include=object-urls"
    return urllib3.request("GET", job, headers=headers).json()


def test_urls_that_have_expired_are_renewed(site: Site, browser: Browser) -> None:
    """The first response has URLs that have ended, as S3 tells it in two ways."""
    body = get(site, FAILED_IN_PART)
    ended = f"{site.proxy.url}/ended"
    body["results"] = {name: {"full": ended, "min": ended} for name in body["results"]}
    site.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"ended"'}))
    expired = "<Error><Code>ExpiredToken</Code></Error>"
    site.proxy.plan("GET /ended", Planned(400, expired), Planned(403, expired))
    browser.visit(f"#/jobs/{FAILED_IN_PART}")
    browser.wait(lambda: len(browser.seen("#job .chips")) == 2)
    assert browser.seen("#job .problem") == []

    # An image whose URL has ended is shown by a new one, without a click.
    body["object_urls"] = {name: f"{url}0" for name, url in body["object_urls"].items()}
    body["results"] = {}
    site.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"ended"'}))
    browser.driver.refresh()
    browser.wait(lambda: browser.image_widths() == [160, 160])
    assert len(site.proxy.lines(GET)) == 2


def test_images_load_as_they_come_into_view(site: Site, browser: Browser) -> None:
    body = get(site, WITH_IMAGES)
    uuids = [f"{number:03}.png" for number in range(400)]
    body["job_info"]["object_uuid_names"] = {uuid: uuid for uuid in uuids}
    body["object_urls"] = {uuid: f"{site.url}/icon.svg?n={uuid}" for uuid in uuids}
    body["results"] = {}
    site.proxy.plan(GET, Planned(200, json.dumps(body), {"ETag": '"images"'}))
    browser.visit(f"#/jobs/{WITH_IMAGES}")
    browser.see("#files h2", "400 files")
    entries = "performance.getEntriesByType('resource')"
    loaded = f"return {entries}.filter((each) => each.name.includes('?n=')).length"
    browser.wait(lambda: browser.run(loaded) > 0)
    assert browser.run(loaded) < 60
    cards = "return document.querySelectorAll('.cards > li').length"
    assert browser.run(cards) == 60
    scroll = "scrollTo(0, document.body.scrollHeight);"
    browser.wait(lambda: browser.run(scroll + cards) == 400)


def test_results_are_read_and_failures_have_their_reason(site: Site, browser: Browser) -> None:
    site.put_job(JOBS[FAILED_IN_PART])
    key = f"{site.alice}/{NEW}/results/{demo.object_uuid(NEW, 'Straße.png')}.min.json"
    shares = [{"label": "sky", "confidence": 0.93}]
    body = json.dumps({"labels": shares, "width": 1600})
    site.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    browser.visit(f"#/jobs/{NEW}")
    browser.wait(lambda: len(browser.seen("#job .result")) == 2)
    row = browser.see("#job .rows li")
    assert row.text.startswith(f"CR2\nraw.cr2\nNot processed: {demo.FAILURE}")
    browser.wait(lambda: [li.text for li in browser.seen("#job .chips li")] == ["sky", "house"])
    readable = browser.see("#job .readable", "width")
    assert readable.text.split("\n") == ["labels", "sky", "93%", "width", "1,600"]
    meters = browser.seen("#job meter")
    assert sorted(str(each.get_attribute("value")) for each in meters) == ["0.87", "0.93"]
    browser.press("#job summary", "JSON")
    result = browser.see("#job pre", "labels")
    assert json.loads(result.text) == {"labels": ["sky", "house"], "sharpness": 0.87}
    assert "\n" in result.text
    names = [each.accessible_name for each in browser.seen(".result a, summary")]
    assert "Full result beach.png" in names
    assert len(set(names)) == 4
    # Only an element with such a role can have a name.
    assert (result.aria_role, result.accessible_name) == ("group", "Result of beach.png")


def test_a_result_that_is_not_json_says_so(site: Site, browser: Browser) -> None:
    site.put_job(demo.Job("success", "Broken", ["broken.png"]))
    key = f"{site.alice}/{NEW}/results/{demo.object_uuid(NEW, 'broken.png')}.min.json"
    site.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"<html>")
    browser.visit(f"#/jobs/{NEW}")
    browser.see("#job .cards .problem", "This result is not valid JSON.")


def test_a_job_of_several_responses_is_shown_whole(site: Site, browser: Browser) -> None:
    # The files that are shown first have their results in the last response.
    names = {f"f{number:04}": f"part {6000 - number}" for number in range(6000)}
    item = {"userId": site.alice, "jobId": NEW, "objectUuidNames": names, "status": "success"}
    site.table.put_item(Item=item)
    before = len(site.statuses(GET))
    browser.visit(f"#/jobs/{NEW}")
    browser.see("#files h2", "6,000 files")
    assert site.statuses(GET)[before:] == [200, 200]
    browser.see("#files .more", "60 of 6,000 files …")
    assert len(browser.seen("#job .result")) == 60
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.wait(lambda: len(browser.seen("#job .result")) > 60)
    browser.press("#job .refresh")
    browser.see("#status", "Nothing has changed.")
