"""What mattered: the importances of the parameters."""

from matplotlib.axes import Axes

from dmx.report.account import Account
from dmx.report.figure import BLUE, plot, short
from dmx.report.html import Html, count, join, tag, text
from dmx.report.reading import Importances

ROUGH = 30
"""Complete trials below which an importance is a hint."""


def importance(account: Account) -> Html:
    """The share of each objective's variance that each parameter explains."""
    parts = [_of_one(account, found) for found in account.importances]
    if len(parts) == 1:
        return parts[0]
    return join(*(join(tag("h3", goal), part) for goal, part in zip(account.goals, parts, strict=True)))


def _of_one(account: Account, found: Importances) -> Html:
    if found.why_not:
        return text(f"Not known: {found.why_not}.")
    shares = dict(reversed(list(found.shares.items())))  # matplotlib's first bar is the lowest

    def draw(ax: Axes) -> None:
        bars = ax.barh([short(path, 3) for path in shares], list(shares.values()), color=BLUE)
        ax.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=3)
        ax.set(xlabel="share of the variance explained", xlim=(0, 1.12 * max(shares.values())))
        ax.grid(visible=False, axis="y")

    caption = f"fANOVA over {count(found.trials, 'complete trial')}; pruned ones are left out."
    parts = [plot(caption, draw, height=1.0 + 0.32 * len(shares))]
    if found.trials < ROUGH:
        parts.append(text(f"{found.trials} trials are few for this: take it as a hint, until there are some {ROUGH}."))
    alone = [axis.path for axis in account.axes if len(axis.choices) != 1 and axis.path not in found.shares]
    if alone:
        told = "Not weighed, for only some trials have them, or all complete ones the same value: "
        parts.append(text(told, tag("code", ", ".join(alone)), "."))
    return join(*parts)
