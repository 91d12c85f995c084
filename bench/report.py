"""The results as tables."""

import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import NamedTuple

# Lambda gives a whole processor at 1,769 MB ("Configure Lambda function memory"). The price is
# that of a GB-second ("AWS Lambda pricing", arm64, us-east-1).
WHOLE_PROCESSOR_MB = 1769
MEMORY_MB = 512, 1024, WHOLE_PROCESSOR_MB
USD_A_GB_SECOND = 0.0000133334
LIBRARIES = ("boto3", "botocore", "chalice")


class Row(NamedTuple):
    """One comparison, in the unit. The goal is a ratio of `least` or more, or ours at `most`."""

    title: str
    unit: str
    boto3_way: float
    ours: float
    least: float = 0
    most: float = inf

    @property
    def ratio(self) -> float:
        """How many times as much the boto3_way takes."""
        return self.boto3_way / self.ours

    @property
    def falls_short(self) -> bool:
        """Whether the goal is missed."""
        return self.ratio < self.least or self.ours > self.most

    @property
    def goal(self) -> str:
        """What it has to reach."""
        return f"ratio {self.least:g}" if self.least else f"at most {self.most:g} {self.unit}"


class Growth(NamedTuple):
    """What a request takes by its size; a list, with those that its `next_cursor` leads to."""

    route: str
    title: str
    size: int
    milliseconds: float
    peak_mb: float
    requests: float
    read_units: float
    response_kb: float


MEASURES = {
    "milliseconds": "time, ms",
    "peak_mb": "peak memory, MB",
    "requests": "requests to AWS",
    "read_units": "read units",
    "response_kb": "response, KB",
}
# Linear growth, with room for noise: an item costs at most so much more than in the size before.
STEEPEST = 1.25


def steeper(rows: list[Growth]) -> list[str]:
    """What grows by more than the size does, from 1,000 on; below, the fixed part is all."""
    return [
        f"{after.route}, {after.title}: {name} grows faster than the size."
        for before, after in pairwise(rows)
        for measure, name in MEASURES.items()
        if before.route == after.route
        and before.size >= 1_000
        and getattr(after, measure) / after.size > STEEPEST * getattr(before, measure) / before.size
    ]


def table(heads: list[str], rows: Iterable[Iterable[str]], texts: int = 1) -> str:
    """A Markdown table; all but its first columns, which are texts, are aligned as numbers."""
    rule = "---|" * texts + "---:|" * (len(heads) - texts)
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{rule}", *lines[1:]])


def comparison(row: Row) -> list[str]:
    """Its cells."""
    short = " **short**" if row.falls_short else ""
    figures = number(row.boto3_way), number(row.ours), f"{row.ratio:.2f}{short}"
    return [row.title, row.unit, *figures, row.goal]


def on_lambda(row: Row) -> list[str]:
    """The time and the price of its request at usual sizes of memory."""
    cells = [row.title]
    for memory_mb in MEMORY_MB:
        ms = row.ours * WHOLE_PROCESSOR_MB / memory_mb
        usd = ms / 1000 * memory_mb / 1024 * USD_A_GB_SECOND * 1_000_000
        cells.append(f"{number(ms)} ms, {usd:.2f} USD")
    return cells


def markdown(rows: list[Row], sizes: list[Growth], rounds: int) -> str:
    """The tables, and what they were measured on."""
    compared = map(comparison, rows)
    grown = ([f"{g.route}, {g.title}", *(number(getattr(g, m)) for m in MEASURES)] for g in sizes)
    warm = [row for row in rows if row.title.endswith("warm") and row.unit == "CPU ms"]
    return f"""\
# Compared with the usual boto3 way

Written by `make bench`; the best of {rounds} alternating rounds against one local stub of AWS.
Only the ratios carry over to other machines. `bench/run.py` says what each row does.
Times are processor time, without waiting for the stub; those of delete, which sends requests in
parallel, are elapsed time. Cold is from the start of the process to its first response, from the
packaged zips. For delete, the boto3 way has bytecode too. In the row of bare Chalice, the
boto3 way is an app that returns a constant.

- {cpu()}, {platform.system()}
- Python {platform.python_version()}, {", ".join(f"{name} {version(name)}" for name in LIBRARIES)}
- `{Path(sys.executable).name} -m bench.run`, {time.strftime("%Y-%m-%d")}

{table(["what", "unit", "boto3 way", "this API", "ratio", "goal"], compared, texts=2)}

## How cost grows

A warm instance of this API; the best time of three. Lists are read to the end by `next_cursor`.
A get is one request: from some 2,000 files on, its response ends early. An item of DynamoDB holds
some 4,000 files.

{table(["what", *MEASURES.values()], grown)}

## What the warm rows mean on Lambda

Computed: this API's time at Lambda's share of a processor (a whole one at
{WHOLE_PROCESSOR_MB:,} MB), and what a million calls cost at {USD_A_GB_SECOND:.10f} USD a
GB-second (arm64, us-east-1), plus 0.20 USD for the requests. At least: waiting for AWS is billed
too.

{table(["what", *(f"{mb:,} MB" for mb in MEMORY_MB)], map(on_lambda, warm))}
"""


def number(value: float) -> str:
    """Rounded to three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cpu() -> str:
    """The processor's name, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"
