"""The (first) objective over each parameter by itself."""

from matplotlib.axes import Axes

from dmx.report.account import Account
from dmx.report.figure import BLUE, GREY, RED, plot, view
from dmx.report.html import Html, count, join, tag, text
from dmx.report.reading import Axis
from dmx.report.scale import FEWEST, having, place, scale

MOST = 9
"""The most slices to show."""


def slices(account: Account) -> Html:
    """A plot for each parameter, the most important first."""
    order = [*account.importances[0].shares, *(axis.path for axis in account.axes)]
    axes = sorted((axis for axis in account.axes if len(axis.choices) != 1), key=lambda axis: order.index(axis.path))
    enough = [axis for axis in axes if len(having(account, [axis])) >= FEWEST]
    if not enough:
        return text(f"No parameter was drawn by {FEWEST} trials that came to a value.")
    left = f" Left out: {count(len(enough) - MOST, 'parameter')}." if len(enough) > MOST else ""
    told = text(f"Filled: complete trials; hollow: trials that ended before; red: the best by {account.metric}.{left}")
    return join(told, tag("div", *(_slice(account, axis) for axis in enough[:MOST]), class_="grid"))


def _slice(account: Account, axis: Axis) -> Html:
    trials = having(account, [axis])
    low, high = view([value for _, value in trials])
    winner = account.complete[0] if account.complete else None

    def draw(ax: Axes) -> None:
        for trial, value in trials:
            colour = RED if trial is winner else BLUE if trial.complete else GREY
            face = colour if trial.complete else "none"
            inside = min(max(value, low), high)
            ax.scatter([place(axis, trial)], [inside], s=30, edgecolors=colour, facecolors=face, clip_on=False)
        scale(ax, axis, "x")
        ax.set(ylabel=account.metric.removeprefix("val/"), ylim=(low, high))

    return plot(axis.path, draw, width=3.6, height=2.7)
