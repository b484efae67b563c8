"""What mattered: importances, slices, and a contour of the two most important."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.tri import Triangulation

from dmx.report.account import Account, Trial
from dmx.report.figure import BLUE, GREY, RED, plot, short, view
from dmx.report.html import Html, count, join, tag, text
from dmx.report.reading import Axis

ROUGH = 30
"""Complete trials below which an importance is a hint."""
SLICES = 9
"""The most slices to show."""
FEWEST = 3
"""Trials that a slice or a contour needs to show anything."""


def importance(account: Account) -> Html:
    """The share of the objective's variance that each parameter explains."""
    found = account.importances
    if found.why_not:
        return text(f"Not known: {found.why_not}.")
    shares = dict(reversed(found.shares.items()))

    def draw(ax: Axes) -> None:
        bars = ax.barh([short(path, 3) for path in shares], list(shares.values()), color=BLUE)
        ax.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=3)
        ax.set(xlabel="share of the variance explained", xlim=(0, 1.12 * max(shares.values())))
        ax.grid(visible=False, axis="y")

    caption = f"fANOVA over {count(found.trials, 'complete trial')}; pruned ones are left out."
    parts = [plot(caption, draw, height=1.0 + 0.32 * len(shares))]
    if found.trials < ROUGH:
        parts.append(
            text(f"{found.trials} trials are few for this: take it as a hint. From {ROUGH} on it holds better.")
        )
    alone = [axis.path for axis in account.axes if len(axis.choices) != 1 and axis.path not in found.shares]
    if alone:
        told = "Not weighed, for only some trials have them, or all complete ones the same value: "
        parts.append(text(told, tag("code", ", ".join(alone)), "."))
    return join(*parts)


def slices(account: Account) -> Html:
    """The objective over each parameter by itself, the most important first."""
    if len(account.directions) > 1:
        return text("Left out: there are several objectives.")
    order = [*account.importances.shares, *(axis.path for axis in account.axes)]
    axes = sorted((axis for axis in account.axes if len(axis.choices) != 1), key=lambda axis: order.index(axis.path))
    enough = [axis for axis in axes if len(_having(account, (axis,))) >= FEWEST]
    if not enough:
        return text(f"No parameter has a value in {FEWEST} trials with a result.")
    left = f" {count(len(enough) - SLICES, 'parameter')} more are left out." if len(enough) > SLICES else ""
    told = text(f"Filled: complete trials; hollow: trials that ended before; red: the winner.{left}")
    return join(told, tag("div", *(_slice(account, axis) for axis in enough[:SLICES]), class_="grid"))


def _having(account: Account, axes: Sequence[Axis]) -> list[Trial]:
    """The trials with a value that have drawn all of `axes`."""
    return [t for t in account.trials if t.value is not None and all(axis.path in t.asked.params for axis in axes)]


def _slice(account: Account, axis: Axis) -> Html:
    trials = _having(account, (axis,))
    low, high = view([trial.value for trial in trials if trial.value is not None])
    best = account.complete[0] if account.complete else None

    def draw(ax: Axes) -> None:
        for trial in trials:
            assert trial.value is not None  # `_having` has left those out
            colour = RED if trial is best else BLUE if trial.complete else GREY
            x, y = place(axis, trial), min(max(trial.value, low), high)
            ax.scatter([x], [y], s=30, edgecolors=colour, facecolors=colour if trial.complete else "none", zorder=3)
        _scale(ax, axis, "x")
        ax.set(ylabel=account.metric, ylim=(low, high))

    return plot(axis.path, draw, width=3.6, height=2.7)


def place(axis: Axis, trial: Trial) -> float:
    """Where a trial stands on an axis: its number, or the place of its choice."""
    value = trial.asked.params[axis.path]
    return float(axis.choices.index(value)) if axis.choices else float(value or 0)


def _scale(ax: Axes, axis: Axis, which: str) -> None:
    """Name and scale of an axis of a plot."""
    scaled = ax.xaxis if which == "x" else ax.yaxis
    scaled.set_label_text(short(axis.path))
    if axis.choices:
        slanted = {"rotation": 20, "ha": "right"} if which == "x" and len(axis.choices) > 2 else {}
        scaled.set_ticks(range(len(axis.choices)), [str(choice) for choice in axis.choices], **slanted)
        (ax.set_xlim if which == "x" else ax.set_ylim)(-0.5, len(axis.choices) - 0.5)
    elif axis.log:
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")


def contour(account: Account) -> Html:
    """The objective over the two parameters that matter most."""
    if len(account.directions) > 1:
        return text("Left out: there are several objectives.")
    by_path = {axis.path: axis for axis in account.axes}
    ranked = [by_path[path] for path in account.importances.shares]
    if len(ranked) < 2:
        return text(f"Not drawn: {account.importances.why_not or 'fewer than two parameters could be weighed'}.")
    first, second = ranked[:2]
    trials = _having(account, (first, second))
    values = np.array([trial.value for trial in trials], dtype=float)
    low, high = view(values.tolist())
    xs, ys = ([place(axis, trial) for trial in trials] for axis in (first, second))
    smooth = triangles(first, second, xs, ys)

    def draw(ax: Axes) -> None:
        _scale(ax, first, "x")
        _scale(ax, second, "y")
        colours = {"cmap": "viridis", "vmin": low, "vmax": high}
        if smooth is not None:
            ax.tricontourf(smooth, values.clip(low, high), levels=12, alpha=0.75, **colours)
            dots = ax.scatter(xs, ys, c=values, edgecolors="black", s=26, zorder=3, **colours)
        else:
            shift = jitter(len(trials), first, second, xs, ys)
            dots = ax.scatter(*shift, c=values, edgecolors="black", s=46, zorder=3, **colours)
        assert ax.figure is not None  # it is drawn upon
        ax.figure.colorbar(dots, ax=ax, label=account.metric)

    between = (
        "Between the trials it is interpolated." if smooth is not None else "Trials of one choice stand side by side."
    )
    return plot(f"{first.path} and {second.path}, each dot a trial. {between}", draw, height=3.6)


def triangles(first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]) -> Triangulation | None:
    """A net over the trials to interpolate on; None for choices, few trials, or trials all in a line."""
    if first.choices or second.choices or len(set(zip(xs, ys, strict=True))) < 2 * FEWEST:
        return None
    scaled = [np.log(each) if axis.log else np.asarray(each) for axis, each in ((first, xs), (second, ys))]
    try:
        net = Triangulation(*(each / (np.ptp(each) or 1.0) for each in scaled))
    except (RuntimeError, ValueError):  # all in a line
        return None
    return Triangulation(xs, ys, net.triangles)


def jitter(
    amount: int, first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Moved places: trials at one place are spread around it, so that each is seen."""
    seen: dict[tuple[float, float], int] = {}
    moved: tuple[list[float], list[float]] = ([], [])
    for i in range(amount):
        turn = seen.get((xs[i], ys[i]), 0)
        seen[xs[i], ys[i]] = turn + 1
        radius, angle = min(0.08 * math.sqrt(turn), 0.42), 2.4 * turn  # a sunflower's spiral
        moved[0].append(xs[i] + (radius * math.cos(angle) if first.choices else 0.0))
        moved[1].append(ys[i] + (radius * math.sin(angle) if second.choices else 0.0))
    return moved
