"""The plots of the report: search history, parameter importances, and the objective over the parameters."""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation

from dmx.report.figures import BLUE, FEWEST, GREY, RED, having, plot, position, scale, short, view
from dmx.report.html import count, join, tag, text
from dmx.report.reading import Axis, Importances, Trial
from dmx.report.study_data import StudyData
from dmx.tracking.home import JOURNAL
from dmx.tracking.journal import MetricsLogged, read

HYPERVOLUME = "trials/hypervolume"
MOST = 9
"""Greatest number of slice plots."""
ROUGH = 30
"""Number of complete trials below which importances are only a hint."""


def history(study: StudyData) -> Markup:
    """Plot every trial's value over its number, and the best so far."""
    if len(study.directions) > 1:
        return front(study)
    known = [trial for trial in study.trials if trial.value is not None]
    if not known:
        return text("No trial has a value.")
    better = min if study.directions[0] == "minimize" else max
    complete = sorted(study.complete, key=lambda trial: trial.number)
    others = [trial for trial in known if not trial.complete]
    so_far = list(accumulate((trial.values[0] for trial in complete), better))
    low, high = view([trial.value for trial in known if trial.value is not None])

    def draw(ax: Axes) -> None:
        for trials, colour, face, label in ((others, GREY, "none", "not complete"), (complete, BLUE, BLUE, "complete")):
            if trials:
                ax.scatter(
                    *_points(trials, low, high), s=22, edgecolors=colour, facecolors=face, label=label, clip_on=False
                )
        if complete:
            ax.step([trial.number for trial in complete], so_far, where="post", color=RED, label="best so far")
        ax.set(xlabel="trial", ylabel=study.metric, ylim=(low, high))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(fontsize=8, frameon=False)

    outside = sum(not low <= trial.value <= high for trial in known if trial.value is not None)
    note = f" {count(outside, 'trial')} beyond the edge drawn on it." if outside else ""
    caption = f"Each trial at its best epoch; only complete ones count for the best.{note}"
    return join(plot(caption, draw))


def _points(trials: Sequence[Trial], low: float, high: float) -> tuple[list[int], list[float]]:
    values = [min(max(trial.value, low), high) for trial in trials if trial.value is not None]
    return [trial.number for trial in trials], values


def front(study: StudyData) -> Markup:
    """Plot complete trials by the first objective against each other one, and the hypervolume of the front."""
    if not study.complete:
        return text("No trial is complete.")
    names, best = study.goals, study.front

    def against(other: int) -> Markup:
        def draw(ax: Axes) -> None:
            for trial in study.complete:
                colour = RED if trial in best else GREY
                ax.scatter(trial.values[other], trial.values[0], s=26, color=colour)
            ax.set(xlabel=named(other), ylabel=named(0))

        return plot(f"Red: the {count(len(best), 'trial')} that no other beats in every objective.", draw)

    def named(i: int) -> str:
        return f"{names[i]} ({'higher' if study.directions[i] == 'maximize' else 'lower'} is better)"

    return join(*(against(other) for other in range(1, len(names))), gained(study))


def gained(study: StudyData) -> Markup:
    """Plot the hypervolume over finished trials, as recorded while the study ran."""
    record = study.home.run(f"{study.config.name}-study") / JOURNAL
    measured = [event for event, _ in read(record) if isinstance(event, MetricsLogged)] if record.exists() else []
    known = [(e.step, e.values[HYPERVOLUME]) for e in measured if HYPERVOLUME in e.values]
    if not known:
        return join()

    def draw(ax: Axes) -> None:
        ax.step(*zip(*known, strict=True), where="post", color=BLUE)
        ax.set(xlabel="trials that have ended", ylabel="hypervolume")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))

    return plot(
        "What the front gains over the study's own experiment: the volume between the two, each objective in units of "
        "that experiment's value.",
        draw,
    )


def contour(study: StudyData) -> Markup:
    """Plot every trial over two parameters; between numeric values the objective is interpolated."""
    if study.importances[0].why_not:
        return text(f"Not drawn: {study.importances[0].why_not}.")
    by_path = {axis.path: axis for axis in study.axes}
    ranked = [by_path[path] for path in study.importances[0].shares]
    if len(ranked) < 2:
        return text("Not drawn: only one parameter could be weighed.")
    first, second = ranked[:2]
    trials = having(study, (first, second))
    values = np.array([value for _, value in trials])
    low, high = view(values.tolist())
    xs, ys = ([position(axis, trial) for trial, _ in trials] for axis in (first, second))
    net = triangles(first, second, xs, ys)

    def draw(ax: Axes) -> None:
        scale(ax, first, "x")
        scale(ax, second, "y")
        if net is not None:
            ax.tricontourf(net, values.clip(low, high), levels=12, alpha=0.75, cmap="viridis", vmin=low, vmax=high)
        at = (xs, ys) if net is not None else spread(first, second, xs, ys)
        dots = ax.scatter(*at, s=40, c=values, edgecolors="black", zorder=3, cmap="viridis", vmin=low, vmax=high)
        ax.get_figure(root=True).colorbar(dots, ax=ax, label=study.metric)  # type: ignore[union-attr]  # it has one

    between = "between them it is interpolated" if net is not None else "those at one place stand side by side"
    return plot(f"{first.path} and {second.path}: each dot is a trial, {between}.", draw, height=3.6)


def triangles(first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]) -> Triangulation | None:
    """Triangulate the trials for interpolation; None for categorical axes, few trials or collinear ones."""
    if first.choices or second.choices or len(set(zip(xs, ys, strict=True))) < 2 * FEWEST:
        return None
    scaled = [np.log(each) if axis.log else np.asarray(each) for axis, each in ((first, xs), (second, ys))]
    try:
        net = Triangulation(*(each / (np.ptp(each) or 1.0) for each in scaled))
    except (RuntimeError, ValueError):  # Qhull: collinear points
        return None
    return Triangulation(xs, ys, net.triangles)


def spread(first: Axis, second: Axis, xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Spread coinciding points along categorical axes, so that each dot is visible."""
    seen: dict[tuple[float, float], int] = {}
    moved: tuple[list[float], list[float]] = ([], [])
    for at in zip(xs, ys, strict=True):
        turn = seen[at] = seen.get(at, -1) + 1
        radius, angle = min(0.1 * math.sqrt(turn), 0.4), 2.4 * turn  # a sunflower's spiral
        moved[0].append(at[0] + (radius * math.cos(angle) if first.choices else 0.0))
        moved[1].append(at[1] + (radius * math.sin(angle) if second.choices else 0.0))
    return moved


def slices(study: StudyData) -> Markup:
    """Plot the objective over each parameter, the most important first."""
    order = [*study.importances[0].shares, *(axis.path for axis in study.axes)]
    axes = sorted((axis for axis in study.axes if len(axis.choices) != 1), key=lambda axis: order.index(axis.path))
    enough = [axis for axis in axes if len(having(study, [axis])) >= FEWEST]
    if not enough:
        return text(f"No parameter was drawn by {FEWEST} trials that came to a value.")
    left = f" Left out: {count(len(enough) - MOST, 'parameter')}." if len(enough) > MOST else ""
    note = text(f"Filled: complete trials; hollow: trials that ended before; red: the best by {study.metric}.{left}")
    return join(note, tag("div", *(_slice(study, axis) for axis in enough[:MOST]), class_="grid"))


def _slice(study: StudyData, axis: Axis) -> Markup:
    trials = having(study, [axis])
    low, high = view([value for _, value in trials])
    winner = study.complete[0] if study.complete else None

    def draw(ax: Axes) -> None:
        for trial, value in trials:
            colour = RED if trial is winner else BLUE if trial.complete else GREY
            face = colour if trial.complete else "none"
            inside = min(max(value, low), high)
            ax.scatter([position(axis, trial)], [inside], s=30, edgecolors=colour, facecolors=face, clip_on=False)
        scale(ax, axis, "x")
        ax.set(ylabel=study.metric.removeprefix("val/"), ylim=(low, high))

    return plot(axis.path, draw, width=3.6, height=2.7)


def importance(study: StudyData) -> Markup:
    """Plot the share of each objective's variance that each parameter explains."""
    parts = [_importance_of_one(study, found) for found in study.importances]
    if len(parts) == 1:
        return parts[0]
    return join(*(join(tag("h3", goal), part) for goal, part in zip(study.goals, parts, strict=True)))


def _importance_of_one(study: StudyData, found: Importances) -> Markup:
    if found.why_not:
        return text(f"Not known: {found.why_not}.")
    shares = dict(reversed(list(found.shares.items())))  # matplotlib draws the first bar at the bottom

    def draw(ax: Axes) -> None:
        bars = ax.barh([short(path, 3) for path in shares], list(shares.values()), color=BLUE)
        ax.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=3)
        ax.set(xlabel="share of the variance explained", xlim=(0, 1.12 * max(shares.values())))
        ax.grid(visible=False, axis="y")

    caption = f"fANOVA over {count(found.trials, 'complete trial')}; pruned ones are left out."
    parts = [plot(caption, draw, height=1.0 + 0.32 * len(shares))]
    if found.trials < ROUGH:
        parts.append(text(f"{found.trials} trials are few for this: take it as a hint, until there are some {ROUGH}."))
    alone = [axis.path for axis in study.axes if len(axis.choices) != 1 and axis.path not in found.shares]
    if alone:
        note = "Not weighed, for only some trials have them, or all complete ones the same value: "
        parts.append(text(note, tag("code", ", ".join(alone)), "."))
    return join(*parts)
