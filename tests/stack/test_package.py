"""`make package`: a zip that is fit for a Lambda, and does all that the app does."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from dev import demo, package
from dev.emulated_aws import BUCKET, TABLE, create_bucket, create_table, emulated_aws
from tests.support.events import ALICE, ENVIRON, lambda_event

MOST_BYTES = 2_500_000
PACKAGES = {"app.py", "chalice", "chalicelib", "botocore", "dateutil", "jmespath", "urllib3"}
HANDLER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app

class Context:
    aws_request_id = "id"
    def get_remaining_time_in_millis(self):
        return 29000

for line in sys.stdin:
    print(json.dumps(app.app(json.loads(line), Context())))
sys.stderr.write("\\n".join(getattr(m, "__file__", None) or "" for m in sys.modules.values()))
"""


@pytest.fixture(scope="module")
def unpacked(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    with zipfile.ZipFile(build / "deployment.zip") as archive:
        archive.extractall(folder)
    return folder


def names(build: Path) -> list[str]:
    with zipfile.ZipFile(build / "deployment.zip") as archive:
        return archive.namelist()


def test_the_zip_is_small(build: Path) -> None:
    assert (build / "deployment.zip").stat().st_size <= MOST_BYTES


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    written = []
    for names in (["a.py", "b.py"], ["b.py", "a.py"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for at, name in enumerate(names):
            (folder / name).write_text(f"text = '{name}'")
            os.utime(folder / name, (10**9 + at * 100, 10**9 + at * 100))
        package.compile_all(folder)
        package.write_zip(folder, tmp_path / "zip")
        written.append((tmp_path / "zip").read_bytes())
    assert written[0] == written[1]


def test_the_zip_holds_the_runtime_and_nothing_else(build: Path) -> None:
    tops = {name.partition("/")[0] for name in names(build)}
    modules = {f"__pycache__/{module}" for module in ("app", "six")}
    assert tops == PACKAGES | {"six.py", "__pycache__"}
    assert {name.partition(".")[0] for name in names(build) if name.startswith("__")} == modules
    ours = {name for name in names(build) if name.startswith("chalicelib/") and "__" not in name}
    assert ours == {
        f"chalicelib/{path.name}"
        for path in (package.ROOT / "chalicelib").glob("*.py")
        if path.name != "__init__.py"
    }
    data = {name for name in names(build) if name.startswith("botocore/data/")}
    assert {name.split("/")[2] for name in data} == {
        "dynamodb",
        "s3",
        "_retry.json",
        "endpoints.json",
        "partitions.json",
        "sdk-default-configuration.json",
    }


@pytest.mark.parametrize("service", package.SERVICES)
@pytest.mark.parametrize(("kind", "part"), [("service-2", 0.5), ("endpoint-rule-set-1", 1)])
def test_a_services_description_lacks_only_its_documentation(
    unpacked: Path, service: str, kind: str, part: float
) -> None:
    data = unpacked / "botocore" / "data"
    assert not list(data.rglob("*.gz"))
    loader = botocore.loaders.Loader(include_default_search_paths=False)
    loader.search_paths.append(str(data))
    description = loader.load_service_model(service, kind)
    documented = botocore.loaders.Loader().load_service_model(service, kind)
    assert len(json.dumps(description)) < len(json.dumps(documented)) * part
    assert_undocumented(description, documented)


def assert_undocumented(description: Any, documented: Any) -> None:
    if isinstance(documented, list):
        for pair in zip(description, documented, strict=True):
            assert_undocumented(*pair)
    elif isinstance(documented, dict):
        assert description.keys() == documented.keys()
        for name, value in documented.items():
            is_text = name == "documentation" and isinstance(value, str)
            assert_undocumented(description[name], "" if is_text else value)
    else:
        assert description == documented


def test_the_zip_has_no_machine_code_for_one_processor(build: Path) -> None:
    with zipfile.ZipFile(build / "deployment.zip") as archive:
        for name in archive.namelist():
            assert not name.endswith((".so", ".pyd", ".dylib", ".dll"))
            # ELF, Mach-O, PE.
            magic = archive.read(name)[:4]
            assert not magic.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"MZ")), name


def test_every_module_has_bytecode_that_no_file_date_makes_stale(unpacked: Path) -> None:
    modules = list(unpacked.rglob("*.py"))
    assert len(modules) > 50
    for path in modules:
        bytecode = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        # PEP 552: bit 0 says hash-based, bit 1 that the hash is checked.
        assert int.from_bytes(bytecode[4:8], "little") == 0b01


def test_the_zip_does_all_four_routes_in_a_bare_interpreter(unpacked: Path, tmp_path: Path) -> None:
    """`python -S` knows no site-packages, so that nothing missing is found elsewhere."""
    events = [
        lambda_event("GET", "/jobs/list"),
        lambda_event("GET", "/jobs/get", {"job-id": "7"}),
        lambda_event("GET", "/jobs/get-object-url", {"job-id": "7", "object-uuid": "a.png"}),
        lambda_event("DELETE", "/jobs/delete", {"job-id": "7"}),
        lambda_event("GET", "/jobs/get", {"job-id": "7"}),
    ]
    with emulated_aws(tmp_path) as aws:
        create_table(aws.client("dynamodb"))
        s3 = aws.client("s3")
        create_bucket(s3)
        item, objects = demo.job_data(
            ALICE, 7, demo.Job("success", "Job", ["a.png", "b.png", "c.png"])
        )
        table = aws.session.resource("dynamodb", endpoint_url=aws.endpoint).Table(TABLE)
        table.put_item(Item=item)
        demo.put_objects(aws.endpoint, objects)
        s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/7/big.mov")
        environ = {name: ENVIRON[name] for name in ENVIRON if not name.startswith("AWS_")}
        run = subprocess.run(
            [sys.executable, "-S", "-E", "-B", "-c", HANDLER, unpacked],
            input="".join(json.dumps(event) + "\n" for event in events),
            env=environ | aws.environ | {"LOG_LEVEL": "CRITICAL"},
            capture_output=True,
            text=True,
            check=True,
        )
        left = s3.list_object_versions(Bucket=BUCKET)
    responses: list[dict[str, Any]] = [json.loads(line) for line in run.stdout.splitlines()]
    assert [response["statusCode"] for response in responses] == [200, 200, 200, 200, 404]
    listed, job, url, deleted, _ = (json.loads(response["body"]) for response in responses)
    assert [row["job_id"] for row in listed["jobs"]] == [7]
    assert len(job["results"]) == 3
    assert url["url"].startswith(f"{aws.endpoint}/{BUCKET}/{ALICE}/7/a.png?")
    assert deleted == {"message": "Ok"}
    assert "Versions" not in left
    standard_library = Path(json.__file__).parent.parent
    for file in filter(None, run.stderr.splitlines()):
        assert Path(file).is_relative_to(unpacked) or (
            Path(file).is_relative_to(standard_library) and "site-packages" not in file
        )


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_INITIALIZATION_TYPE", "ANOTHER"])
def test_only_in_lambda_botocore_is_imported_at_the_start(unpacked: Path, variable: str) -> None:
    code = "import app, sys; print('botocore.session' in sys.modules)"
    environ = {**ENVIRON, variable: "on-demand", "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-S", "-B", "-c", code]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(variable != "ANOTHER")
