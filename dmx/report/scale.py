"""Parameters as axes of a plot."""

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dmx.report.account import Account, Trial
from dmx.report.figure import short
from dmx.report.reading import Axis

FEWEST = 3
"""Trials that a plot over parameters needs to show anything."""


def having(account: Account, axes: Sequence[Axis]) -> list[tuple[Trial, float]]:
    """The trials that have drawn all of `axes` and came to a value, with that value."""
    drawn = [trial for trial in account.trials if all(axis.path in trial.asked.params for axis in axes)]
    return [(trial, trial.value) for trial in drawn if trial.value is not None]


def place(axis: Axis, trial: Trial) -> float:
    """Where a trial stands on an axis: its number, or the place of its choice."""
    value = trial.asked.params[axis.path]
    return float(axis.choices.index(value)) if axis.choices else float(value or 0)


def scale(ax: Axes, axis: Axis, which: Literal["x", "y"]) -> None:
    """Name, ticks and scale of one axis of a plot."""
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
        scaled.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # the usual one writes TeX
        scaled.set_minor_formatter(NullFormatter())
