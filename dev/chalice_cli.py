"""What `chalice local`, `deploy` and `package` do before they load the app."""

import os
import sys
from pathlib import Path

from chalicelib import aws
from chalicelib.config import load_settings
from chalicelib.errors import ConfigError

# What stage prod and its policy contain until somebody fills them in.
PLACEHOLDER = "FILL IN"
POLICY = ".chalice/policy-prod.json"
STAND_INS = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEfGhI",
    "JOB_REQUESTS_TABLE": "job-requests",
    "JOB_FILES_BUCKET": "job-files",
}


def prepare() -> None:
    """Check what the command needs. Raises ConfigError."""
    command = next((word for word in sys.argv if word in ("deploy", "local", "package")), "")
    if command == "package":
        # The merge template replaces the placeholders of stage prod.
        for name, value in STAND_INS.items():
            if os.environ.get(name, "").startswith(PLACEHOLDER):
                os.environ[name] = value
    if command == "deploy":
        check_policy(Path(POLICY))
    if command == "local":
        aws.region(load_settings(os.environ))
        aws.credentials()


def check_policy(path: Path) -> None:
    """Refuse a policy that has placeholders left. Raises ConfigError."""
    if PLACEHOLDER in path.read_text():
        raise ConfigError(f"{path} still says {PLACEHOLDER}. Put the ARNs in, as it says there.")
