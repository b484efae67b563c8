"""The (first) objective over the two parameters that mattered most."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.tri import Triangulation

from dmx.report.account import Account
from dmx.report.figure import plot, view
from dmx.report.html import Html, text
from dmx.report.reading import Axis
from dmx.report.scale import FEWEST, having, place, scale


def contour(account: Account) -> Html:
    """Every trial by both parameters; between numbers the objective is interpolated."""
    if account.importances[0].why_not:
        return text(f"Not drawn: {account.importances[0].why_not}.")
    by_path = {axis.path: axis for axis in account.axes}
    ranked = [by_path[path] for path in account.importances[0].shares]
    if len(ranked) < 2:
        return text("Not drawn: only one parameter could be weighed.")
    first, second = ranked[:2]
    trials = having(account, (first, second))
    values = np.array([value for _, value in trials])
    low, high = view(values.tolist())
    xs, ys = ([place(axis, trial) for trial, _ in trials] for axis in (first, second))
    net = triangles(first, second, xs, ys)

    def draw(ax: Axes) -> None:
        scale(ax, first, "x")
        scale(ax, second, "y")
        if net is not None:
            ax.tricontourf(net, values.clip(low, high), levels=12, alpha=0.75, cmap="viridis", vmin=low, vmax=high)
        at = (xs, ys) if net is not None else spread(first, second, xs, ys)
        dots = ax.scatter(*at, s=40, c=values, edgecolors="black", zorder=3, cmap="viridis", vmin=low, vmax=high)
        ax.get_figure(root=True).colorbar(dots, ax=ax, label=account.metric)  # type: ignore[union-attr]  # it has one

    between = "between them it is interpolated" if net is not None else "those at one place stand side by side"
    return plot(f"{first.path} and {second.path}: each dot is a trial, {between}.", draw, height=3.6)


def triangles(first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]) -> Triangulation | None:
    """A net over the trials to interpolate on; None for choices, few trials, or trials all in a line."""
    if first.choices or second.choices or len(set(zip(xs, ys, strict=True))) < 2 * FEWEST:
        return None
    scaled = [np.log(each) if axis.log else np.asarray(each) for axis, each in ((first, xs), (second, ys))]
    try:
        net = Triangulation(*(each / (np.ptp(each) or 1.0) for each in scaled))
    except (RuntimeError, ValueError):  # Qhull, of points all in a line
        return None
    return Triangulation(xs, ys, net.triangles)


def spread(first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """The places, with those that coincide spread along the axes of choices, so that each dot is seen."""
    seen: dict[tuple[float, float], int] = {}
    moved: tuple[list[float], list[float]] = ([], [])
    for at in zip(xs, ys, strict=True):
        turn = seen[at] = seen.get(at, -1) + 1
        radius, angle = min(0.1 * math.sqrt(turn), 0.4), 2.4 * turn  # a sunflower's spiral
        moved[0].append(at[0] + (radius * math.cos(angle) if first.choices else 0.0))
        moved[1].append(at[1] + (radius * math.sin(angle) if second.choices else 0.0))
    return moved
