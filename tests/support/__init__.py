"""What is not a test itself: fake servers, events, commands, checks."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
