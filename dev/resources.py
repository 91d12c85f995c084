"""What resources.yaml says, for the emulated AWS and the gateway in front of the app."""

import sys
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Reads what CloudFormation computes (!Ref, !Sub, ...) as null: none of it is needed here."""


_Loader.add_multi_constructor("!", lambda *_: None)
_PATH = Path(__file__).parent.parent / "resources.yaml"
try:
    TEMPLATE: dict[str, Any] = yaml.load(_PATH.read_bytes(), _Loader)  # a SafeLoader
except yaml.YAMLError as error:
    sys.exit(f"resources.yaml is not valid YAML: {' '.join(str(error).split())}.")


def properties(resource: str) -> dict[str, Any]:
    """The properties of a resource of resources.yaml."""
    found: dict[str, Any] = TEMPLATE["Resources"][resource]["Properties"]
    return found


# The headers of API Gateway's own responses; CloudFormation computes the origin.
_RESPONSE = properties("RestAPI")["GatewayResponses"]["DEFAULT_4XX"]
HEADERS: dict[str, str | None] = _RESPONSE["ResponseParameters"]["Headers"]
