"""The picture of a learning-rate range test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

RAW, SMOOTHED, MARKS = "#9ab8d3", "#1f4e79", ("#c0392b", "#2e8b57")


def save_plot(
    path: Path,
    name: str,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
) -> None:
    """Draw loss by learning rate as a PNG; drawn apart from pyplot, which keeps figures alive.

    Args:
        path: Where it goes.
        name: The experiment.
        rates: The learning rate of each step.
        losses: The loss of each step.
        smoothed: The smoothed loss of each step.
        marks: Learning rates to point out, by what they are.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", xlabel="learning rate (no unit)", ylabel="training loss (no unit)")
    axes.set_title(f"Learning-rate range test: {name}")
    axes.plot(rates, losses, ".-", color=RAW, linewidth=0.8, markersize=4, label="loss of each step")
    axes.plot(rates, smoothed, color=SMOOTHED, linewidth=2, label="smoothed")
    for colour, (what, rate) in zip(MARKS, marks.items(), strict=False):
        axes.axvline(rate, color=colour, linestyle="--", label=f"{what}: {rate:.2g}")
        height = float(np.interp(np.log(rate), np.log(rates), smoothed))
        axes.plot([rate], [height], "o", color=colour)
    axes.set_ylim(*view(losses))
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_png(path)  # type: ignore[no-untyped-call]  # matplotlib has no types there


def view(losses: Sequence[float]) -> tuple[float, float]:
    """The losses to show: not the highest twentieth, for beside an explosion nothing else could be seen."""
    low, high = min(losses), float(np.percentile(losses, 95))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin
