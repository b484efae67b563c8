"""How the best value came about, or the front where there are several objectives."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dmx.report.account import Account, Trial
from dmx.report.figure import BLUE, GREY, RED, plot, view
from dmx.report.html import Html, count, join, text


def history(account: Account) -> Html:
    """Every trial's value by its number, and the best so far."""
    if len(account.directions) > 1:
        return front(account)
    known = [trial for trial in account.trials if trial.value is not None]
    if not known:
        return text("No trial has a value.")
    better = min if account.lower_is_better else max
    complete = sorted(account.complete, key=lambda trial: trial.asked.number)
    others = [trial for trial in known if not trial.complete]
    so_far = list(accumulate((trial.asked.values[0] for trial in complete), better))
    low, high = view([trial.value for trial in known if trial.value is not None])

    def draw(ax: Axes) -> None:
        for trials, colour, face, label in ((others, GREY, "none", "not complete"), (complete, BLUE, BLUE, "complete")):
            if trials:
                ax.scatter(
                    *_points(trials, low, high), s=22, edgecolors=colour, facecolors=face, label=label, clip_on=False
                )
        if complete:
            ax.step([trial.asked.number for trial in complete], so_far, where="post", color=RED, label="best so far")
        ax.set(xlabel="trial", ylabel=account.metric, ylim=(low, high))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(fontsize=8, frameon=False)

    outside = sum(not low <= trial.value <= high for trial in known if trial.value is not None)
    note = f" {count(outside, 'trial')} beyond the edge drawn on it." if outside else ""
    caption = f"Each trial at its best epoch; only complete ones count for the best.{note}"
    return join(plot(caption, draw))


def _points(trials: Sequence[Trial], low: float, high: float) -> tuple[list[int], list[float]]:
    values = [min(max(trial.value, low), high) for trial in trials if trial.value is not None]
    return [trial.asked.number for trial in trials], values


def front(account: Account) -> Html:
    """The complete trials by their first two objectives, and which of them no other beats in every objective."""
    if not account.complete:
        return text("No trial is complete.")
    best = unbeaten([trial.asked.values for trial in account.complete], account.directions)

    def draw(ax: Axes) -> None:
        for i, trial in enumerate(account.complete):
            ax.scatter(trial.asked.values[0], trial.asked.values[1], s=26, color=RED if i in best else GREY)
        ax.set(xlabel=f"objective 1 ({account.directions[0]})", ylabel=f"objective 2 ({account.directions[1]})")

    return plot(f"Red: the {count(len(best), 'trial')} that no other beats in every objective.", draw)


def unbeaten(values: Sequence[Sequence[float]], directions: Sequence[str]) -> set[int]:
    """The places of those that none other matches in all objectives and beats in one."""
    signs = [1 if direction == "minimize" else -1 for direction in directions]
    turned = [tuple(sign * value for sign, value in zip(signs, each, strict=True)) for each in values]

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    return {i for i, each in enumerate(turned) if not any(beats(other, each) for other in turned)}
