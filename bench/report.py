"""The results as tables."""

import math
import platform
import re
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
USD_A_GB_SECOND = 0.0000133334
MODELLED = "ms on Lambda, modelled"
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
        return self.ratio < self.least or self.ours > self.most

    @property
    def goal(self) -> str:
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
    short = " **short**" if row.falls_short else ""
    figures = number(row.boto3_way), number(row.ours), f"{row.ratio:.2f}{short}"
    return [row.title, row.unit, *figures]


def felt(rows: list[Row], sizes: list[Growth]) -> Iterable[list[str]]:
    """What a request of usual size takes of a new instance, of one started ahead, of a warm one."""
    ours = {f"{size.route}, {size.title}, warm": size.milliseconds for size in sizes}
    ours |= {row.title: row.ours for row in rows}
    for title in ours:
        case, started, _ = title.partition(", started on demand")
        if started and ":" not in title:
            warm = f"{case}, warm".replace(" at 20 ms a request", "")
            yield [case, *(number(ours[each]) for each in (title, f"{case}, started ahead", warm))]


def cost(row: Row, memory_mb: int) -> list[str]:
    """The time of its request, and the price of a million; Lambda bills whole milliseconds."""
    ms = row.ours / min(1, memory_mb / WHOLE_PROCESSOR_MB)
    usd = math.ceil(ms) / 1000 * memory_mb / 1024 * USD_A_GB_SECOND * 1_000_000
    return [row.title, number(ms), f"{usd:.2f}"]


def markdown(rows: list[Row], sizes: list[Growth], rounds: int, memory_mb: int) -> str:
    """The tables, and what they were measured on."""
    compared = map(comparison, rows)
    grown = ([f"{g.route}, {g.title}", *(number(getattr(g, m)) for m in MEASURES)] for g in sizes)
    warm = (cost(row, memory_mb) for row in rows if row.unit == "CPU ms")
    starts = [f"{MODELLED}: started on demand", "started ahead", "warm"]
    return f"""\
# What a request takes

Written by `make bench`; the best of {rounds} alternating rounds against one local stub of AWS that
speaks TLS. `bench/run.py` says what each row does. Nothing was measured on AWS.

- {cpu()}, {platform.system()}
- Python {platform.python_version()}, {", ".join(f"{name} {version(name)}" for name in LIBRARIES)}
- `{Path(sys.executable).name} -m bench.run`, {time.strftime("%Y-%m-%d")}

{table(["request", *starts], felt(rows, sizes))}

## Compared with the usual boto3 way

"CPU ms" is processor time on this machine. "{MODELLED}" is the same, as Lambda counts
it at {memory_mb:,} MB: a start on demand is the imports at a whole processor, and then the handler
at its share of one ({min(1, memory_mb / WHOLE_PROCESSOR_MB):.0%}); of an instance that was started
ahead, a user waits for the handler alone. Both leave out the waiting for AWS. Deletes send requests
in parallel: their handlers are elapsed time, with waiting, and their boto3 way has bytecode too, as
in all warm rows. In the row of bare Chalice, the boto3 way is an app that returns a constant.

{table(["what", "unit", "boto3 way", "this API", "ratio"], compared, texts=2)}

## How cost grows

A warm instance of this API; the best time of five. Lists are read to the end by `next_cursor`.
A get is one request: from some 2,000 files on, its response ends early. An item of DynamoDB holds
4,200 files with names like these.

{table(["size", *MEASURES.values()], grown)}

## What the warm rows cost

At {memory_mb:,} MB and {USD_A_GB_SECOND:.10f} USD a GB-second (arm64, us-east-1), plus 0.20 USD
for a million requests. At least: waiting for AWS is billed too.

{table(["warm request", MODELLED, "USD a million"], warm)}
"""


def with_tables_of(results: str, document: str) -> str:
    """The document, with each table renewed whose first column's head is that of a result."""
    tables = r"(?m)^(\| [^|]+ \|)(.*\n\|---.*\n(?:\|.*\n)+)"
    renewed = {head: head + rest for head, rest in re.findall(tables, results)}
    return re.sub(tables, lambda found: renewed.get(found[1], found[0]), document)


def number(value: float) -> str:
    """Rounded to three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cpu() -> str:
    """The processor's name, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"
