"""dev/chalice_cli.py: what Chalice's commands check before they load the app."""

from pathlib import Path

import pytest

from chalicelib.errors import ConfigError
from dev.chalice_cli import check_policy
from dev.package import ROOT


def test_a_policy_has_to_be_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "policy-prod.json"
    policy = (ROOT / ".chalice" / "policy-prod.json").read_text()
    path.write_text(policy)
    with pytest.raises(ConfigError, match="json still says FILL IN"):
        check_policy(path)
    path.write_text(policy.replace("FILL IN", "arn:aws:dynamodb:"))
    check_policy(path)
