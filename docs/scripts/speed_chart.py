"""Draws docs/pictures/speed.svg from the tables of docs/measurements/performance.md.

    python docs/scripts/speed_chart.py

The drawing holds no figure of its own: each bar is the ratio that a row of those tables holds.
"""

import math
import re
from html import escape
from pathlib import Path

DOCS = Path(__file__).parents[1]
TABLES = DOCS / "measurements" / "performance.md"
PICTURE = DOCS / "pictures" / "speed.svg"

BARS = {
    "64 px pairs a second, our network": "our face network, random weights, when nothing",
    "64 px pairs a second, DiffuseSeg's network": "DiffuseSeg's own network and ten",
    "fitting ten classifiers on 100 labelled faces": "fitting |",
    "memory for labelling a 256 px image": "peak memory beyond maps and weights",
    "labelling a 256 px image": "time |",
    "writing a 256 px pair (tar)": "tar, 256 px",
    "writing a 64 px pair (tar)": "tar, 64 px |",
}
"""What each bar says, and how the row of the tables begins that has its ratio."""

WIDTH, LABELS, RIGHT, TOP, STEP, BAR = 760, 340, 70, 64, 34, 18
DECADES = 4
PLOT = WIDTH - LABELS - RIGHT


def ratio(tables: str, row: str) -> str:
    """The first ratio, such as "3,650x", of the row that begins so."""
    (line, *_) = [line for line in tables.splitlines() if line.startswith(f"| {row}")]
    found = re.search(r"\*{0,2}([\d,.]+x)\*{0,2} \|", line)
    assert found is not None, line
    return found[1]


def draw(tables: str) -> str:
    """The picture as SVG, on a logarithmic scale from 1x to 10,000x."""
    height = TOP + STEP * len(BARS) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        ' font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13" fill="#1f2933">',
        "<title>How many times faster or smaller than the code that it replaces</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#d5dae1"/>',
        '<text x="16" y="26" font-size="15" font-weight="bold">',
        "Times faster, or smaller, than the code that it replaces</text>",
    ]
    for decade in range(DECADES + 1):
        x = LABELS + PLOT * decade / DECADES
        parts.append(
            f'<line x1="{x:g}" y1="{TOP - 8}" x2="{x:g}" y2="{height - 12}" stroke="#e3e7ec"/>'
            f'<text x="{x:g}" y="{TOP - 14}" text-anchor="middle" font-size="11" fill="#616e7c">'
            f"{10**decade:,}x</text>"
        )
    for i, (label, row) in enumerate(BARS.items()):
        factor = ratio(tables, row)
        width = PLOT * math.log10(float(factor[:-1].replace(",", ""))) / DECADES
        y = TOP + STEP * i
        parts.append(
            f'<text x="{LABELS - 10}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="#2f6db0"/>'
            f'<text x="{LABELS + width + 7:.1f}" y="{y + 14}" font-weight="bold">{factor}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(TABLES.read_text()))
