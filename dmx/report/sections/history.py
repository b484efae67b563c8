"""How the best value came about, or the front where there are several objectives."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dmx.report.account import Account, Trial
from dmx.report.figure import BLUE, GREY, RED, plot, view
from dmx.report.html import Html, count, join, text
from dmx.tracking.journal import JOURNAL, Measured, read

HYPERVOLUME = "trials/hypervolume"


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
    """The complete trials by their first objective and each other one, and what the front gained with every trial."""
    if not account.complete:
        return text("No trial is complete.")
    names, best = account.goals, account.front

    def against(other: int) -> Html:
        def draw(ax: Axes) -> None:
            for trial in account.complete:
                colour = RED if trial in best else GREY
                ax.scatter(trial.asked.values[other], trial.asked.values[0], s=26, color=colour)
            ax.set(xlabel=named(other), ylabel=named(0))

        return plot(f"Red: the {count(len(best), 'trial')} that no other beats in every objective.", draw)

    def named(i: int) -> str:
        return f"{names[i]} ({'higher' if account.directions[i] == 'maximize' else 'lower'} is better)"

    return join(*(against(other) for other in range(1, len(names))), gained(account))


def gained(account: Account) -> Html:
    """The hypervolume by finished trials, as it was put on record while the study ran."""
    record = account.home.run(f"{account.config.name}-study") / JOURNAL
    measured = [event for event, _ in read(record) if isinstance(event, Measured)] if record.exists() else []
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
