"""Plots as SVG inside the page: small enough for a phone, sharp on paper, and nothing is fetched from anywhere."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmx.report.html import Html, tag

BLUE, GREY, RED = "#1f5f99", "#9aa5b1", "#c0392b"
STYLE: Any = {
    "svg.fonttype": "none",  # texts stay texts: smaller, and a reader can search and copy them
    "svg.hashsalt": "dmx",  # the same study gives the same page
    "text.parse_math": False,  # a `$` in a name is a `$`
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def plot(says: str, draw: Callable[[Axes], None], width: float = 5.4, height: float = 3.3) -> Html:
    """A figure with a caption; `draw` draws it, drawn apart from pyplot, which keeps figures alive.

    Args:
        says: The caption, which also says what there is to see to whom cannot see it.
        draw: Draws on the given axes.
        width: In inches.
        height: In inches.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        written = StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = written.getvalue()
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg[svg.index("<svg") :])  # inside HTML they are understood
    return tag("figure", Html(svg), tag("figcaption", says))


def view(values: Sequence[float]) -> tuple[float, float]:
    """The range to show: around the quartiles, so that one trial that went astray does not flatten all others."""
    low, high = np.percentile(values, (25, 75))
    reach = 3 * (high - low) or 0.05 * abs(high) or 1.0
    inside = [value for value in values if low - reach <= value <= high + reach]
    margin = 0.06 * (max(inside) - min(inside)) or 0.02 * abs(max(inside)) or 0.1
    return min(inside) - margin, max(inside) + margin


def short(path: str, parts: int = 2) -> str:
    """The end of a dotted path, as an axis has room for it."""
    return ".".join(path.split(".")[-parts:])
