"""The results as a table and as a chart."""

import platform
import sys
import time
from importlib.metadata import version
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
    """One comparison, in the unit; peer / ours has to be `least` at the least."""

    title: str
    unit: str
    peer: float
    ours: float
    least: float

    @property
    def ratio(self) -> float:
        """How many times as much the peer takes."""
        return self.peer / self.ours

    @property
    def falls_short(self) -> bool:
        """Whether the ratio is less than it has to be."""
        return self.ratio < self.least


def markdown(rows: list[Row], peaks: list[tuple[str, float, float]], rounds: int) -> str:
    """The table, the memory, and what they were measured on."""
    lines = [
        "| what | unit | boto3 way | this API | ratio | at least |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.title} | {row.unit} | {number(row.peer)} | {number(row.ours)} "
        f"| {row.ratio:.2f}{' **short**' if row.falls_short else ''} | {row.least:g} |"
        for row in rows
    ]
    lines += [
        f"| {title}: peak memory (at most 128) | MB | {peer:.0f} | {ours:.0f} "
        f"| {peer / ours:.2f} | |"
        for title, ours, peer in peaks
    ]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return "\n".join(
        [
            "# Compared with the usual boto3 way",
            "",
            "Written by `make bench`; medians of "
            f"{rounds} alternating rounds against one local stub of AWS.",
            "Only the ratios carry over to other machines. `bench/run.py` says what each row does.",
            "Cold is from the start of the process to its first response, of the zips as shipped; "
            "but for delete",
            "the boto3 way got bytecode too, and in the row of bare Chalice that app stands in its "
            "place.",
            "",
            f"- {cpu()}, {platform.system()}",
            f"- Python {platform.python_version()}, {libraries}",
            f"- `{Path(sys.executable).name} -m bench.run`, {time.strftime('%Y-%m-%d')}",
            "",
            *lines,
            "",
            "## What the warm rows mean on Lambda",
            "",
            "Computed: this API's time at Lambda's share of a processor (a whole one at "
            f"{WHOLE_PROCESSOR_MB:,} MB),",
            f"and what a million calls cost at {USD_A_GB_SECOND:.10f} USD a GB-second "
            "(arm64, us-east-1), plus 0.20 USD for the requests.",
            "",
            *on_lambda([row for row in rows if row.title.endswith("warm")]),
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
        most, y = max(row.peer, row.ours), i * LINE + 58
        parts.append(f'<text class="t" x="{LABEL - 12}" y="{y + 19}">{escape(row.title)}</text>')
        for kind, value, top in (("peer", row.peer, y), ("ours", row.ours, y + 16)):
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
        ".r{font-weight:600}.h{font-size:15px;font-weight:600}.peer{fill:#9aa4b0}.ours{fill:#1f6feb}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.peer{fill:#6e7681}.ours{fill:#58a6ff}}"
    )
    title = "This API beside the usual boto3 way; less is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{title}"><style>{style}</style>'
        f'<text class="h" x="12" y="24">{title}</text>'
        f'<rect class="peer" x="{LABEL}" y="36" width="12" height="12"/>'
        f'<text x="{LABEL + 18}" y="46">boto3 way (last cold row: bare Chalice)</text>'
        f'<rect class="ours" x="{LABEL + 270}" y="36" width="12" height="12"/>'
        f'<text x="{LABEL + 288}" y="46">this API</text>{"".join(parts)}</svg>\n'
    )


def number(value: float) -> str:
    """Three digits are all that such a measurement has."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cpu() -> str:
    """The processor's name, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"
