"""Figures as inline SVG: small enough for a phone, sharp in print, without external resources."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dmx.report.html import figure
from dmx.report.reading import Axis, Trial
from dmx.report.study_data import StudyData

BLUE, GREY, RED = "#1f5f99", "#9aa5b1", "#c0392b"
STYLE: Any = {
    "svg.fonttype": "none",  # keep text as text: smaller, searchable and selectable
    "svg.hashsalt": "dmx",  # deterministic ids: the same study gives the same page
    "text.parse_math": False,  # no math mode for `$` in names
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
FEWEST = 3
"""Least number of trials for a plot over parameters."""


def plot(says: str, draw: Callable[[Axes], None], width: float = 5.4, height: float = 3.3) -> Markup:
    """Draw a figure with a caption, without pyplot, which keeps figures alive.

    Args:
        says: The caption; also the text alternative for screen readers.
        draw: Draws on the given axes.
        width: Width in inches.
        height: Height in inches.
    """
    with rc_context(STYLE):
        drawing = Figure(figsize=(width, height), layout="constrained")
        draw(drawing.add_subplot())
        written = StringIO()
        drawing.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = written.getvalue()
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg[svg.index("<svg") :])  # not needed inside HTML
    return figure(Markup(svg), says)


def view(values: Sequence[float]) -> tuple[float, float]:
    """Return the range to plot, based on the quartiles, so that an outlier does not flatten all other trials."""
    low, high = np.percentile(values, (25, 75))
    reach = 3 * (high - low) or 0.05 * abs(high) or 1.0
    inside = [value for value in values if low - reach <= value <= high + reach]
    margin = 0.06 * (max(inside) - min(inside)) or 0.02 * abs(max(inside)) or 0.1
    return min(inside) - margin, max(inside) + margin


def short(path: str, parts: int = 2) -> str:
    """Return the last parts of a dotted path, for an axis label."""
    return ".".join(path.split(".")[-parts:])


def having(study: StudyData, axes: Sequence[Axis]) -> list[tuple[Trial, float]]:
    """Return the trials that have drawn all of `axes` and have a value, with that value."""
    drawn = [trial for trial in study.trials if all(axis.path in trial.params for axis in axes)]
    return [(trial, trial.value) for trial in drawn if trial.value is not None]


def position(axis: Axis, trial: Trial) -> float:
    """Return a trial's position on an axis: the number, or the index of the choice."""
    value = trial.params[axis.path]
    return float(axis.choices.index(value)) if axis.choices else float(value or 0)


def scale(ax: Axes, axis: Axis, which: Literal["x", "y"]) -> None:
    """Set label, ticks and scale of one axis of a plot."""
    scaled = ax.xaxis if which == "x" else ax.yaxis
    scaled.set_label_text(short(axis.path))
    if axis.choices:
        scaled.set_ticks(range(len(axis.choices)), [str(choice) for choice in axis.choices])
        if which == "x" and len(axis.choices) > 2:
            ax.tick_params("x", labelrotation=20)
        (ax.set_xlim if which == "x" else ax.set_ylim)(-0.5, len(axis.choices) - 0.5)
    elif axis.log:
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
        low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
        scaled.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
        scaled.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # the default writes TeX
        scaled.set_minor_formatter(NullFormatter())
