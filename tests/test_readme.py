"""README.md: its tables are what the code knows, its messages are what the code says."""

import re

import pytest
from chalice.app import Chalice

from chalicelib import jobs
from chalicelib.config import Settings, load_settings
from chalicelib.errors import ConfigError
from dev.package import ROOT
from tests.conftest import ENVIRON

# AWS's own variables, and those of the settings by their names.
VARIABLES = {
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    *(name.upper() for name in Settings._fields if name not in ("region", "s3_endpoint")),
}
README = (ROOT / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading's text, without its head."""
    table = README.split(heading, 1)[1].split("\n|---", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]
    ]


def test_the_table_of_routes_is_the_apps(app: Chalice) -> None:
    documented = {cells[0].strip("`") for cells in rows("## Routes")}
    assert documented == {
        f"{method} {path}" for path, methods in app.routes.items() for method in methods
    }


def test_the_table_of_variables_is_the_configurations() -> None:
    documented = {line[0].strip("`"): line for line in rows("## Configuration")}
    assert set(documented) == VARIABLES
    needed = {name for name, cells in documented.items() if cells[1] == "yes"}
    for name in needed:
        with pytest.raises(ConfigError, match=f"{name} is not set"):
            load_settings({key: value for key, value in ENVIRON.items() if key != name})
    settings = load_settings({name: ENVIRON[name] for name in needed})
    for name in VARIABLES - needed:
        if hasattr(settings, name.lower()):
            default = documented[name][2].strip("`").replace("empty", "")
            assert str(getattr(settings, name.lower())).removeprefix(
                "True"
            ) == default.removeprefix("true")


def test_the_table_of_statuses_is_the_stores() -> None:
    documented: dict[str, str] = {}
    for statuses, meanings, *_ in rows("brings it back"):
        names, texts = re.findall(r"`([^`]+)`", statuses), meanings.split(" / ")
        documented.update(zip(names, texts, strict=False))
    for status, meaning in documented.items():
        assert jobs.status_members(status.replace("N", "7"))["status_meaning"] == meaning.replace(
            "N%", "7%"
        )
    assert set(jobs.STATUS_MEANINGS) <= set(documented)


@pytest.mark.parametrize(
    "message",
    [
        "Choose another one: make run PORT=",
        "is not set. It must be ",
        "The job does not exist",
        "The service is busy. Please try again in a few seconds.",
        "Something went wrong on our side. The request id is ",
        "No region is named.",
        "There are no AWS credentials.",
        "AWS refused: ",
    ],
)
def test_a_message_that_is_explained_is_one_that_something_says(message: str) -> None:
    folders = (ROOT / "chalicelib", ROOT / "dev")
    sources = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    # A message may be put together: "{name} is {what}. It must be ...".
    said = sources.replace("{repr(value) if value else 'not set'}", "not set").replace(
        "{expected}", ""
    )
    assert message in README
    assert message in said


def test_the_performance_table_is_the_one_that_was_measured() -> None:
    measured = (ROOT / "bench" / "results.md").read_text()
    table = measured[measured.index("| what | unit") :].partition("\n\n")[0]
    assert table in README
