"""`make package`: the app as CloudFormation takes it, with a zip that is fit for a Lambda."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from chalicelib.config import Settings

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"

# What the API calls: botocore's models of all the rest, 27 MB, stay out.
OPERATIONS = {
    "dynamodb/2012-08-10": ["DeleteItem", "GetItem", "Query"],
    "s3/2006-03-01": [
        "AbortMultipartUpload",
        "DeleteObjects",
        "ListMultipartUploads",
        "ListObjectVersions",
    ],
}
BOTOCORE_DATA = [
    "_retry.json",
    "endpoints.json",
    "partitions.json",
    "sdk-default-configuration.json",
]
# boto3's resources and transfers, which nothing imports, and what only a packager reads.
LEFT_OUT = ["boto3", "s3transfer", "*.dist-info", "*.data", "dateutil/zoneinfo"]
# Equal content has to give equal bytes.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def main(build: Path = BUILD) -> None:
    """Write deployment.zip and template.yaml, for stage prod, into the folder `build`."""
    print("Packaging ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        packaged, code = Path(folder, "packaged"), Path(folder, "code")
        chalice_package(packaged)
        with zipfile.ZipFile(packaged / "deployment.zip") as plain:
            plain.extractall(code)
        slim(code)
        compile_all(code)
        build.mkdir(exist_ok=True)
        write_zip(code, build / "deployment.zip")
        write_template(packaged / "sam.yaml", build / "template.yaml")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    print(f"Packaged for Lambda's {runtime}: {build}/deployment.zip and {build}/template.yaml")


def chalice_package(folder: Path) -> None:
    """`chalice package` with the merge template, of the app's own files and nothing else."""
    # Chalice takes chalicelib/ as it is, and would reuse a stale zip of its own cache.
    project = folder.parent / "project"
    for pattern in (
        "app.py",
        "chalicelib/*.py",
        "dev/*.py",
        "dev/*.py",
        "requirements.txt",
        ".chalice/*.json",
    ):
        for source in ROOT.glob(pattern):
            copy = project / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    chalice = Path(sys.executable).parent / "chalice"
    template = ROOT / "resources.yaml"
    command: list[str | Path] = [
        chalice,
        "package",
        "--stage",
        "prod",
        "--merge-template",
        template,
        folder,
    ]
    # Chalice asks for a region, but the template is good for any: no shell or profile has a say.
    foreign = ("AWS_", "PYTHON", *(name.upper() for name in Settings._fields))
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    # Into a pipe, as it asks a terminal for what it can, and waits for the answer.
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}`chalice package` has failed.")


def slim(code: Path) -> None:
    """Take out what a Lambda of this API does not read."""
    for pattern in LEFT_OUT:
        for path in code.glob(pattern):
            shutil.rmtree(path)
    data = code / "botocore" / "data"
    kept = {Path(name) for name in BOTOCORE_DATA}
    for service, operations in OPERATIONS.items():
        kept |= {Path(service, name) for name in ("endpoint-rule-set-1.json", "service-2.json")}
        for name in ("endpoint-rule-set-1", "service-2"):
            model = json.loads(gzip.decompress((data / service / f"{name}.json.gz").read_bytes()))
            if name == "service-2":
                model = only(operations, model)
            (data / service / f"{name}.json").write_text(json.dumps(model))
    services = {service.partition("/")[0] for service in OPERATIONS}
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {
            name: value for name, value in partition["services"].items() if name in services
        }
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    for path in data.rglob("*"):
        if path.is_file() and path.relative_to(data) not in kept:
            path.unlink()
    for path in sorted(data.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def only(operations: list[str], model: dict[str, Any]) -> dict[str, Any]:
    """A service's model of these operations and the shapes that they use, without its prose."""
    shapes: dict[str, Any] = {}

    def keep(value: Any) -> Any:
        if isinstance(value, list):
            return [keep(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        name = value.get("shape")
        if isinstance(name, str) and name not in shapes:
            shapes[name] = {}
            shapes[name] = keep(model["shapes"][name])
        return {key: keep(inner) for key, inner in value.items() if key != "documentation"}

    kept = {name: keep(model["operations"][name]) for name in operations}
    return {**model, "operations": kept, "shapes": shapes}


def compile_all(code: Path) -> None:
    """Bytecode for every module: a Lambda's code folder is read-only, and so never gets any.

    Unchecked hashes, because the files' dates do not survive. In an interpreter of its own, because
    the bytes depend on what else a process holds, and -I, because they do on PYTHON… variables.
    """
    options = ["-q", "-f", "-s", str(code), "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run([sys.executable, "-I", "-m", "compileall", *options, str(code)])
    if done.returncode:
        sys.exit("Some modules do not compile.")


def write_template(merged: Path, path: Path) -> None:
    """Write the template without YAML's aliases, which CloudFormation does not support."""
    template = yaml.safe_load(merged.read_text())
    # Through JSON, so that no two places share an object: only those become aliases.
    path.write_text(yaml.safe_dump(json.loads(json.dumps(template)), sort_keys=False, width=100))


def write_zip(code: Path, path: Path) -> None:
    """The folder as a zip whose bytes depend on nothing but its files' names and content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(file for file in code.rglob("*") if file.is_file()):
            info = zipfile.ZipInfo(file.relative_to(code).as_posix(), ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. Nothing was packaged.")
