"""Chromium, for the tests of what runs in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.support.commands import find


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
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
