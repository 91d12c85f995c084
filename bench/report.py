"""The results as a table and as a chart."""

import platform
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from math import inf, log10
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

# Lambda gives a whole processor at 1,769 MB ("Configure Lambda function memory"). The price is
# that of a GB-second ("AWS Lambda pricing", arm64, us-east-1).
WHOLE_PROCESSOR_MB = 1769
USD_A_GB_SECOND = 0.0000133334
LIBRARIES = ("boto3", "botocore", "chalice")
WIDTH, LABEL, BAR, LINE = 860, 330, 360, 46


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


def growth_table(rows: list[Growth]) -> list[str]:
    """A line a route and size."""
    return [
        f"| what | {' | '.join(MEASURES.values())} |",
        f"|---|{'---:|' * len(MEASURES)}",
        *(
            f"| {row.route}, {row.title} | "
            f"{' | '.join(number(getattr(row, measure)) for measure in MEASURES)} |"
            for row in rows
        ),
    ]


def growth_svg(rows: list[Growth]) -> str:
    """A panel a measure, with logarithmic axes: linear growth is as steep as the dashed line."""
    side, gap, top = 146, 20, 76
    least, most = log10(min(row.size for row in rows)), log10(max(row.size for row in rows))
    # As many pixels for a tenfold value on both axes.
    scale = side / (most - least)
    parts = [
        f'<path class="{route}" d="M{230 + 110 * i} 42h24"/>'
        f'<text x="{260 + 110 * i}" y="46">{route}</text>'
        for i, route in enumerate(("list", "get", "delete"))
    ]
    for i, (measure, name) in enumerate(MEASURES.items()):
        x = gap + i * (side + gap)
        # A delete reads no units, and its response is always the same.
        shown = [row for row in rows if getattr(row, measure) >= 1]
        low, high = (of(getattr(row, measure) for row in shown) for of in (min, max))
        parts.append(
            f'<rect class="f" x="{x}" y="{top}" width="{side}" height="{side}"/>'
            f'<path class="d" d="M{x} {top + side}l{side} -{side}"/>'
            f'<text class="n" x="{x}" y="{top - 8}">{name}</text>'
            f'<text x="{x + 4}" y="{top + 14}">{number(low)} to {number(high)}</text>'
            f'<text x="{x}" y="{top + side + 16}">{10**least:,.0f}</text>'
            f'<text class="t" x="{x + side}" y="{top + side + 16}">{10**most:,.0f}</text>'
        )
        for route in dict.fromkeys(row.route for row in shown):
            points = " ".join(
                f"{x + (log10(row.size) - least) * scale:.1f},"
                f"{top + side - log10(getattr(row, measure) / low) * scale:.1f}"
                for row in shown
                if row.route == route
            )
            parts.append(f'<polyline class="{route}" points="{points}"/>')
    title = "How cost grows with jobs listed, files got and objects deleted"
    style = (
        "text{font:12px system-ui,sans-serif;fill:#24292f}.t{text-anchor:end}.n{font-weight:600}"
        ".h{font-size:15px;font-weight:600}.f{fill:none;stroke:#9aa4b0}"
        ".d{stroke:#9aa4b0;stroke-dasharray:4}polyline,path{fill:none;stroke-width:2}"
        ".list{stroke:#1f6feb}.get{stroke:#bf8700}.delete{stroke:#cf222e}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.list{stroke:#58a6ff}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + side + 28}" '
        f'width="{WIDTH}" height="{top + side + 28}" role="img" aria-label="{title}">'
        f'<style>{style}</style><text class="h" x="{gap}" y="24">{title}</text>'
        f'<text x="{gap}" y="46">As steep as - - -: linear</text>{"".join(parts)}</svg>\n'
    )


def markdown(rows: list[Row], sizes: list[Growth], rounds: int) -> str:
    """The tables, and what they were measured on."""
    lines = [
        "| what | unit | boto3 way | this API | ratio | goal |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.title} | {row.unit} | {number(row.boto3_way)} | {number(row.ours)} "
        f"| {row.ratio:.2f}{' **short**' if row.falls_short else ''} | {row.goal} |"
        for row in rows
    ]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return "\n".join(
        [
            "# Compared with the usual boto3 way",
            "",
            "Written by `make bench`; the best of "
            f"{rounds} alternating rounds against one local stub of AWS.",
            "Only the ratios carry over to other machines. `bench/run.py` says what each row does.",
            "Times are processor time, without waiting for the stub; those of delete, which sends "
            "requests in",
            "parallel, are elapsed time. Cold is from the start of the process to its first "
            "response, from the",
            "packaged zips. For delete, the boto3 way has bytecode too. In the row of bare "
            "Chalice, the",
            "boto3 way is an app that returns a constant.",
            "",
            f"- {cpu()}, {platform.system()}",
            f"- Python {platform.python_version()}, {libraries}",
            f"- `{Path(sys.executable).name} -m bench.run`, {time.strftime('%Y-%m-%d')}",
            "",
            *lines,
            "",
            "## How cost grows",
            "",
            "A warm instance of this API; the best time of three. Lists are read to the end by "
            "`next_cursor`. A get is",
            "one request: from some 2,000 files on, its response ends early. An item of DynamoDB "
            "holds some 4,000 files.",
            "",
            *growth_table(sizes),
            "",
            "## What the warm rows mean on Lambda",
            "",
            "Computed: this API's time at Lambda's share of a processor (a whole one at "
            f"{WHOLE_PROCESSOR_MB:,} MB),",
            f"and what a million calls cost at {USD_A_GB_SECOND:.10f} USD a GB-second "
            "(arm64, us-east-1), plus 0.20 USD for the requests. At least: waiting for AWS is "
            "billed too.",
            "",
            *on_lambda(
                [row for row in rows if row.title.endswith("warm") and row.unit == "CPU ms"]
            ),
            "",
        ]
    )


def on_lambda(rows: list[Row]) -> list[str]:
    """The time and the price of these rows at usual sizes of memory."""
    lines = ["| what | 512 MB | 1,024 MB | 1,769 MB |", "|---|---:|---:|---:|"]
    for row in rows:
        cells = []
        for memory_mb in (512, 1024, WHOLE_PROCESSOR_MB):
            ms = row.ours * WHOLE_PROCESSOR_MB / memory_mb
            usd = ms / 1000 * memory_mb / 1024 * USD_A_GB_SECOND * 1_000_000
            cells.append(f"{number(ms)} ms, {usd:.2f} USD")
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return lines


def svg(rows: list[Row]) -> str:
    """A bar a row: what this API takes of what the boto3 way takes."""
    parts = []
    for i, row in enumerate(rows):
        most, y = max(row.boto3_way, row.ours), i * LINE + 58
        parts.append(f'<text class="t" x="{LABEL - 12}" y="{y + 19}">{escape(row.title)}</text>')
        for kind, value, top in (("boto3_way", row.boto3_way, y), ("ours", row.ours, y + 16)):
            width = max(2.0, value / most * BAR)
            parts.append(
                f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{width:.1f}" height="14"/>'
                f'<text class="v" x="{LABEL + width + 6:.1f}" y="{top + 11}">'
                f"{number(value)} {row.unit}</text>"
            )
        parts.append(f'<text class="r" x="{WIDTH - 8}" y="{y + 19}">{row.ratio:.3g}&#215;</text>')
    height = len(rows) * LINE + 66
    style = (
        "text{font:12px system-ui,sans-serif;fill:#24292f}.t,.r{text-anchor:end}"
        ".r{font-weight:600}.h{font-size:15px;font-weight:600}.boto3_way{fill:#9aa4b0}.ours{fill:#1f6feb}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.boto3_way{fill:#6e7681}.ours{fill:#58a6ff}}"
    )
    title = "This API beside the usual boto3 way; less is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{title}"><style>{style}</style>'
        f'<text class="h" x="12" y="24">{title}</text>'
        f'<rect class="boto3_way" x="{LABEL}" y="36" width="12" height="12"/>'
        f'<text x="{LABEL + 18}" y="46">boto3 way (last cold row: bare Chalice)</text>'
        f'<rect class="ours" x="{LABEL + 270}" y="36" width="12" height="12"/>'
        f'<text x="{LABEL + 288}" y="46">this API</text>{"".join(parts)}</svg>\n'
    )


def number(value: float) -> str:
    """Rounded to three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cpu() -> str:
    """The processor's name, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"
