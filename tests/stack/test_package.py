"""`make package`: a zip that is fit for a Lambda, and does all that the app does."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from dev import package
from dev.emulated_aws import BUCKET, api_environ
from tests.support.events import ALICE, ENVIRON, lambda_event
from tests.support.running_api import Running

MOST_BYTES = 2_500_000
PACKAGES = {"app.py", "chalice", "chalicelib", "botocore", "dateutil", "jmespath", "urllib3"}


@pytest.fixture(scope="module")
def unpacked(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    with zipfile.ZipFile(build / "deployment.zip") as archive:
        archive.extractall(folder)
    return folder


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


def names(folder: Path, pattern: str = "*") -> set[str]:
    return {path.name for path in folder.glob(pattern)}


def test_the_zip_holds_the_runtime_and_nothing_else(unpacked: Path) -> None:
    assert names(unpacked) == PACKAGES | {"six.py", "__pycache__"}
    modules = {name.partition(".")[0] for name in names(unpacked / "__pycache__")}
    assert modules == {"app", "six"}
    ours = names(unpacked / "chalicelib") - {"__pycache__"}
    assert ours == names(package.ROOT / "chalicelib", "*.py")
    assert names(unpacked / "botocore" / "data") == {
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
    text = r'"documentation": "(\\.|[^"\\])*"'
    undocumented = re.sub(text, '"documentation": ""', json.dumps(documented))
    assert description == json.loads(undocumented)


def test_the_zip_has_no_machine_code_for_one_processor(unpacked: Path) -> None:
    for path in filter(Path.is_file, unpacked.rglob("*")):
        assert path.suffix not in (".so", ".pyd", ".dylib", ".dll")
        # ELF, Mach-O, PE.
        magic = path.read_bytes()[:4]
        assert not magic.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"MZ")), path


def test_every_module_has_bytecode_that_no_file_date_makes_stale(unpacked: Path) -> None:
    modules = list(unpacked.rglob("*.py"))
    assert len(modules) > 50
    for path in modules:
        bytecode = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        # PEP 552: bit 0 says hash-based, bit 1 that the hash is checked.
        assert int.from_bytes(bytecode[4:8], "little") == 0b01


def test_the_zip_does_all_four_routes_in_a_bare_interpreter(
    unpacked: Path, running: Running
) -> None:
    """The benchmark's worker can import only the zip and the standard library."""
    events = [
        lambda_event("GET", "/jobs/list"),
        lambda_event("GET", "/jobs/get", {"job-id": "7"}),
        lambda_event("GET", "/jobs/get-object-url", {"job-id": "7", "object-uuid": "a.png"}),
        lambda_event("DELETE", "/jobs/delete", {"job-id": "7"}),
        lambda_event("GET", "/jobs/get", {"job-id": "7"}),
    ]
    # A user who has no other job.
    running._replace(alice=ALICE).put_job(7)
    aws, s3 = running.aws, running.aws.client("s3")
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"{ALICE}/7/big.mov")
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-B", package.ROOT / "bench" / "worker.py", unpacked],
        input="".join(json.dumps({"event": event, "calls": 1}) + "\n" for event in events),
        env=api_environ(aws, running.pool_arn) | {"LOG_LEVEL": "CRITICAL"},
        capture_output=True,
        text=True,
        check=True,
    )
    left = s3.list_object_versions(Bucket=BUCKET, Prefix=f"{ALICE}/")
    lines = [line.removeprefix("bench:") for line in run.stdout.splitlines()]
    responses: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [response["status"] for response in responses] == [200, 200, 200, 200, 404]
    listed, job, url, deleted, _ = (json.loads(response["body"]) for response in responses)
    assert [row["job_id"] for row in listed["jobs"]] == [7]
    assert len(job["results"]) == 3
    assert url["url"].startswith(f"{aws.endpoint}/{BUCKET}/{ALICE}/7/a.png?")
    assert deleted == {"message": "Ok"}
    assert "Versions" not in left


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_INITIALIZATION_TYPE", "ANOTHER"])
def test_only_in_lambda_botocore_is_imported_at_the_start(unpacked: Path, variable: str) -> None:
    code = "import app, sys; print('botocore.session' in sys.modules)"
    environ = {**ENVIRON, variable: "on-demand", "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-S", "-B", "-c", code]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(variable != "ANOTHER")
