"""What is not a test itself: fake servers, events, commands, checks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def camel_case(parameter: str) -> str:
    """A query parameter's name as JavaScript has it."""
    return re.sub(r"-(\w)", lambda letter: letter[1].upper(), parameter)
