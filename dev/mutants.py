"""`python -m dev.mutants`: prepares app.py and chalicelib/ in a copy of the tree for mutmut.

mutmut 3.8 does not mutate functions that have decorators: here each such function is decorated by
a call below it.
"""

import ast
from pathlib import Path


def without_decorators(source: str) -> str:
    """The module's source, in which `name = decorator(name)` below a function decorates it."""
    lines = source.splitlines()
    body = ast.parse(source).body
    methods = [node for each in body if isinstance(each, ast.ClassDef) for node in each.body]
    for node in sorted(body + methods, key=lambda node: -node.lineno):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            call = node.name
            for decorator in map(ast.unparse, reversed(node.decorator_list)):
                # What is cached for another test would hide the mutants of what computes it.
                if not decorator.startswith("lru_cache"):
                    call = f"{decorator.replace('cached_property', 'property')}({call})"
            lines.insert(node.end_lineno or 0, f"{' ' * node.col_offset}{node.name} = {call}")
            del lines[node.decorator_list[0].lineno - 1 : node.lineno - 1]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in (Path("app.py"), *Path("chalicelib").glob("*.py")):
        path.write_text(without_decorators(path.read_text()))
