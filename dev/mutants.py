"""`make mutants`: mutation testing of app.py and chalicelib/, a score for each module.

It works on a copy of the tree, and can be stopped: the next run continues, unless the tests have
changed. mutmut 3.8 does not mutate functions that have decorators: in the copy, each such function
is decorated by a call below it.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPY = ROOT / "build" / "mutants"


def main(module: str) -> None:
    """Test the mutants of a module, e.g. chalicelib.paging, or of all."""
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, COPY / name)
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
        if tested:
            print(f"{name:20} {killed:4} of {tested:4} killed, {killed / tested:.1%}")
    print(f"A mutant as a diff: cd {COPY.relative_to(ROOT)} && {mutmut} show <name>")


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
