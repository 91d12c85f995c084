"""`make package`: the app as a SAM template and a zip that starts fast in Lambda."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from chalicelib.config import Settings
from chalicelib.errors import ConfigError
from dev.server import LOADED, files_of, stage_config

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"

# Of `chalice package`.
OPTIONS = ("--stage", "prod", "--merge-template", "resources.yaml")
SERVICES = ("dynamodb", "s3")
# Where the role's policy is.
POLICIES = (".chalice/**/*.json",)
# Of chalicelib/ and vendor/, next to dotfiles.
CACHES = re.compile(r"__pycache__/|\.pyc$|~$")
# Of what pip installs: metadata for installers, and time zones that nothing uses.
LEFT_OUT = ["*.dist-info", "*.data", "dateutil/zoneinfo"]
# A constant, so that equal content gives equal bytes.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def main(build: Path = BUILD) -> None:
    """Write deployment.zip and template.yaml, for stage prod, into the folder `build`."""
    try:
        stage = stage_config("prod")
        if stage.get("automatic_layer"):
            sys.exit("Set automatic_layer to false in .chalice/config.json: the zip has it all.")
        policy = stage.get("iam_policy_file")
        if policy is not None and f".chalice/{policy}" not in files_of(POLICIES):
            sys.exit(f"iam_policy_file is {policy}. It must name a .json file inside .chalice/.")
        build.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=build).close()
    except OSError as error:
        sys.exit(f"{build} cannot be written: {error.strerror}.")
    except ConfigError as error:
        sys.exit(str(error))
    print("Packaging ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        project, packaged, code = (Path(folder, name) for name in ("project", "packaged", "code"))
        copy_project(project)
        chalice_package(project, packaged)
        with zipfile.ZipFile(packaged / "deployment.zip") as plain:
            plain.extractall(code)
        slim(code)
        add_own(project, code)
        compile_all(code)
        write_zip(code, build / "deployment.zip")
        write_template(packaged / "sam.yaml", build / "template.yaml")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    print(f"Packaged for Lambda's {runtime}: {build}/deployment.zip and {build}/template.yaml")


def copy_project(folder: Path) -> None:
    """Copy what Chalice needs: it packages all of chalicelib/, caches and dotfiles too."""
    for name in files_of((*LOADED, *POLICIES, "requirements.txt"), CACHES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def chalice_package(project: Path, folder: Path) -> None:
    """Run `chalice package` with the merge template, whose files go to the folder.

    In a copy of the project, also because Chalice may reuse an outdated zip from its cache.
    """
    chalice = Path(sys.executable).parent / "chalice"
    # Chalice needs a region, but the template is the same for any: ignore the shell and profiles.
    foreign = ("AWS_", "PYTHON", *(name.upper() for name in Settings._fields))
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    # With a pipe instead of a terminal it never asks a question and waits.
    done = subprocess.run(
        [chalice, "package", *OPTIONS, folder],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}".strip())


def slim(code: Path) -> None:
    """Remove what the API does not use: most of all, botocore's data of other services (27 MB)."""
    for pattern in LEFT_OUT:
        for path in code.glob(f"{pattern}/"):
            shutil.rmtree(path)
    data = code / "botocore" / "data"
    for folder in data.glob("*/"):
        if folder.name not in SERVICES:
            shutil.rmtree(folder)
    # botocore parses this file at each cold start: without the other services, a sixth faster.
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES if name in services}
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    # Two thirds of a service's description is documentation: without it, and uncompressed inside
    # the zip, it is read in half the time.
    for path in data.glob("*/*/*.json.gz"):
        description = json.loads(gzip.decompress(path.read_bytes()), object_hook=undocumented)
        path.with_suffix("").write_text(json.dumps(description))
        path.unlink()


def add_own(project: Path, code: Path) -> None:
    """Add the project's own files again: unzipped they had lost their modes, or were removed."""
    for source, folder in (("chalicelib", code / "chalicelib"), ("vendor", code)):
        if (project / source).exists():
            shutil.copytree(project / source, folder, dirs_exist_ok=True)


def undocumented(members: dict[str, Any]) -> dict[str, Any]:
    """An object of a service's description, with an empty documentation if it has one."""
    # The member of a shape that has this name is an object, not a text.
    is_text = isinstance(members.get("documentation"), str)
    return members | {"documentation": ""} if is_text else members


def compile_all(code: Path) -> None:
    """Compile every module to bytecode: a Lambda's code folder is read-only, so Python cannot.

    Unchecked hashes, because the zip does not keep the files' dates. In an interpreter of its own
    and with -I, because the bytes depend on the process's other objects and on PYTHON… variables.
    """
    options = ["-q", "-f", "-s", str(code), "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run([sys.executable, "-I", "-m", "compileall", *options, str(code)])
    if done.returncode:
        sys.exit("Some modules do not compile.")


def write_template(merged: Path, path: Path) -> None:
    """Write the template without YAML's aliases, which CloudFormation does not support."""
    template = yaml.safe_load(merged.read_text())
    # Through JSON, so that no two places share an object: PyYAML writes shared ones as aliases.
    path.write_text(yaml.safe_dump(json.loads(json.dumps(template)), sort_keys=False, width=100))


def write_zip(code: Path, path: Path) -> None:
    """Write a zip whose bytes depend only on the files' names, content and executability."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(file for file in code.rglob("*") if file.is_file()):
            info = zipfile.ZipInfo(file.relative_to(code).as_posix(), ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            executable = file.stat().st_mode & 0o100
            info.external_attr = (0o755 if executable else 0o644) << 16
            archive.writestr(info, file.read_bytes())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. Nothing was packaged.")
