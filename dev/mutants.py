"""`make mutants`: mutation testing of app.py, chalicelib/ and client/, a score for each module.

It works on a copy of the tree. Python's mutants can be stopped: the next run continues, unless the
tests have changed. mutmut 3.8 does not mutate functions that have decorators: in the copy, each
such function is decorated by a call below it. The client's mutants are Stryker's, from npm.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPY = ROOT / "build" / "mutants"
# Version 10 needs Node 22.
STRYKER = "@stryker-mutator/core@9.6.1"


def main(module: str) -> None:
    """Test the mutants of a module, e.g. chalicelib.paging or client, or of all of Python."""
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, COPY / name)
    if module == "client":
        client_mutants()
    else:
        python_mutants(module)


def python_mutants(module: str) -> None:
    """Test the mutants of one or all modules in the copy."""
    for path in (COPY / "app.py", *COPY.glob("chalicelib/*.py")):
        path.write_text(without_decorators(path.read_text()))
    mutmut = str(Path(sys.executable).parent / "mutmut")
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    mutants = [f"{module}.*"] if module else []
    run = subprocess.run([mutmut, "run", *mutants], cwd=COPY, env=environ)
    show = [mutmut, "results", "--all", "true"]
    results = subprocess.run(show, cwd=COPY, env=environ, stdout=subprocess.PIPE, text=True)
    if run.returncode or results.returncode:
        # mutmut 3.8 asks pytest for tests that have been renamed since its last run.
        sys.exit("If the tests have changed: remove build/mutants, and run make mutants again.")
    states: dict[str, Counter[str]] = {}
    for name, state in re.findall(r"^ *(\S+): (.+)$", results.stdout, re.MULTILINE):
        states.setdefault(name.rpartition(".")[0], Counter())[state] += 1
        if state not in ("killed", "timeout", "not checked"):
            print(f"{state}: {name}")
    for name, counts in sorted(states.items()):
        killed = counts["killed"] + counts["timeout"]
        tested = counts.total() - counts["not checked"]
        print_score(name, killed, tested)
    print(f"A mutant as a diff: cd {COPY.relative_to(ROOT)} && {mutmut} show <name>")


def client_mutants() -> None:
    """Test the mutants of client/api.js in the copy, each by the tests of its behavior."""
    tools = ROOT / "build" / "stryker"
    tools.mkdir(exist_ok=True)
    install = "npm install --prefix . --loglevel=error --no-audit --no-fund"
    if subprocess.run(f"{install} {STRYKER}", shell=True, cwd=tools).returncode:
        sys.exit("npm could not install Stryker. Install Node.js 20 or newer.")
    # Without what other tests need, which takes longer to start than these take.
    bare = ["--noconftest", "-c", os.devnull, "-p", "no:cacheprovider"]
    tests = ["-x", "tests/frontend/test_client.py", "-k", "not package and not types"]
    command = [sys.executable, "-m", "pytest", *bare, *tests]
    config = {
        "mutate": ["client/api.js"],
        "commandRunner": {"command": shlex.join(command)},
        "reporters": ["json", "progress"],
        "inPlace": True,
        "concurrency": os.cpu_count(),
        # A busy machine is no endless loop.
        "timeoutMS": 30_000,
    }
    (COPY / "stryker.config.json").write_text(json.dumps(config))
    stryker = tools / "node_modules" / ".bin" / "stryker"
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if subprocess.run([stryker, "run"], cwd=COPY, env=environ).returncode:
        sys.exit("Stryker could not test the mutants: see above.")
    report = json.loads((COPY / "reports" / "mutation" / "mutation.json").read_text())
    for name, file in report["files"].items():
        survivors = [m for m in file["mutants"] if m["status"] not in ("Killed", "Timeout")]
        for mutant in survivors:
            line = mutant["location"]["start"]["line"]
            print(f"{mutant['status']}: {name}:{line}: {mutant['replacement']}")
        tested = len(file["mutants"])
        print_score(name, tested - len(survivors), tested)


def print_score(name: str, killed: int, tested: int) -> None:
    """Print a module's line, if anything of it was tested."""
    if tested:
        print(f"{name:20} {killed:4} of {tested:4} killed, {killed / tested:.1%}")


def without_decorators(source: str) -> str:
    """The module's source, in which `name = decorator(name)` below a function decorates it."""
    lines = source.splitlines()
    body = ast.parse(source).body
    methods = [node for each in body if isinstance(each, ast.ClassDef) for node in each.body]
    for node in sorted(body + methods, key=lambda node: -node.lineno):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            call = node.name
            for decorator in map(ast.unparse, reversed(node.decorator_list)):
                # What a pure function has cached for another test would hide its mutants.
                if not decorator.startswith("lru_cache"):
                    call = f"{decorator}({call})"
            lines.insert(node.end_lineno or 0, f"{' ' * node.col_offset}{node.name} = {call}")
            del lines[node.decorator_list[0].lineno - 1 : node.lineno - 1]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(os.environ.get("MODULE", ""))
