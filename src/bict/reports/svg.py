"""Matplotlib figures as inline SVG: real text, page colours, ids that cannot clash."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

UNITS_PER_INCH = 72
FONT = "font-family: system-ui, sans-serif"

COLOURS = {
    "ink": "#24292e",
    "muted": "#6a737c",
    "line": "#d0d7dd",
    "old": "#7b8590",
    "backward": "#d98a00",
    "upgraded": "#0b6fb8",
    "backfill": "#3a9a78",
    "free": "#b3709a",
}
"""Series by name; on a page the custom property `--chart-NAME` takes the place of the value written here."""

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "legend.frameon": False,
    "legend.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "bict",
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "xtick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 11,
    "ytick.color": COLOURS["line"],
    "ytick.labelcolor": COLOURS["ink"],
    "ytick.left": False,
}


def draw(name: str, title: str, size: tuple[float, float], paint: Callable[[Figure], None]) -> str:
    """Paint a figure of `(width, height)` units, one unit a CSS pixel, and return it as an inline SVG element.

    Every id inside starts with the name, so figures of different names can stand on one page. The title is what a
    screen reader says. Matplotlib's own settings are as before afterwards.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(size[0] / UNITS_PER_INCH, size[1] / UNITS_PER_INCH))
        paint(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), name, title)


def _inline(document: str, name: str, title: str) -> str:
    element = document[document.index("<svg") :].strip()
    head, body = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", element, count=1, flags=re.DOTALL).split(">", 1)
    head = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', head)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{name}-", body)
    body = re.sub(r"font-family: [^;\"]*", FONT, body)
    body = re.sub(r"font: ([^;\"]*?[\d.]+px)[^;\"]*", rf"font: \1 sans-serif; {FONT}", body)
    for colour, value in COLOURS.items():
        body = re.sub(rf": {value}(?=[;\"])", f": var(--chart-{colour}, {value})", body)
    label = f'role="img" class="chart" aria-labelledby="{name}-title"'
    return f'{head} {label}><title id="{name}-title">{escape(title, quote=False)}</title>{body}'
