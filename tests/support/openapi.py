"""Checks real responses against openapi.yaml."""

import json
import math
import re
from collections.abc import Mapping
from textwrap import indent
from typing import Any

import yaml
from openapi_schema_validator import OAS31Validator

from tests.support import ROOT

_PATH = ROOT / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.load(_PATH.read_bytes(), yaml.CSafeLoader)


def check(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise AssertionError where the document does not have such a response of a route.

    What is no route of the document, such as a preflight, passes.
    """
    operation = PATHS.get(path, {}).get(method.lower())
    if operation is None:
        return
    said = operation["responses"].get(str(status))
    assert said, f"openapi.yaml has no {status} for {method} {path}"
    for name, header in said["headers"].items():
        assert name in headers, f"{method} {path} responded {status} without {name}"
        value = headers[name]
        validate(int(value) if header["schema"]["type"] == "integer" else value, header["schema"])
    if "content" not in said:
        assert body == b""
        return
    [(media_type, content)] = said["content"].items()
    assert headers["Content-Type"] == media_type
    validate(json.loads(body), content["schema"])


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Raise AssertionError where the schema does not allow the value."""
    validator = OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER)
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not faults, faults


def write_example(name: str, value: Any) -> None:
    """Write the value of an example into the document, where it has the line `value:`."""
    text = _PATH.read_text("utf-8")
    new = yaml.dump({"value": value}, allow_unicode=True, sort_keys=False, width=math.inf)
    old = rf"(?m)^( +)({name}:\n(?:\1  summary: .*\n)?)\1  value:.*\n(?:\n*\1   .*\n)*"
    text, found = re.subn(old, lambda old: old[1] + old[2] + indent(new, old[1] + "  "), text)
    assert found, f"openapi.yaml has no example {name} with the lines `summary:` and `value:`"
    _PATH.write_text(text, "utf-8")


def _resolved(node: Any) -> Any:
    """The node with its references followed, and with no members but those that it names.

    Callers are told to expect new members, so the document cannot forbid them; here they are ones
    that somebody forgot to write down.
    """
    if isinstance(node, list):
        return [_resolved(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return _resolved(target)
    closed = {"additionalProperties": False} if "properties" in node else {}
    return closed | {name: _resolved(each) for name, each in node.items()}


PATHS: dict[str, Any] = _resolved(DOCUMENT["paths"])
