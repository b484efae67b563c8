"""The leaderboard as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dmx.config import Objective
from dmx.experiment.ranking import Entry

SHOWN = ("model", "loss.mask", "loss.depth", "optimizer", "optimizer.lr")
SECOND = ("val/mask/iou_pooled", "val/depth/rmse_pooled", "val/depth/delta1_pooled")


def show(entries: Sequence[Entry], title: str, top: int | None = None) -> None:
    """Print ranked entries, best first; a value that is missing is shown as a dash.

    Args:
        entries: What `rank` gave.
        title: What stands above.
        top: How many to show; None: all.
    """
    objective = Objective(**entries[0].record["objective"])
    metrics = [objective.metric, *(name for name in SECOND if name != objective.metric)]
    metrics = [name for name in metrics if any(e.result.best and name in e.result.best.metrics for e in entries)]
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    for column in ("#", "run", "outcome", *(name.removeprefix("val/") for name in metrics), *SHOWN, "params", "time"):
        right = column not in ("run", "outcome", *SHOWN[:-1])
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for place, entry in enumerate(entries[:top], start=1):
        best = entry.result.best
        values = [best.metrics.get(name) if best else None for name in metrics]
        shown = [f"{value:.4g}" if value is not None else "-" for value in values]
        params = [short(entry.record["params"].get(name, "-")) for name in SHOWN]
        size = f"{entry.record['parameters'] / 1e6:.2f}M"
        number = str(place) if best else "-"
        table.add_row(number, entry.run, entry.result.outcome, *shown, *params, size, f"{entry.result.seconds:.0f}s")
    console = Console()
    console.print(table, soft_wrap=not console.is_terminal)
    arrow = "lower" if objective.direction == "minimize" else "higher"
    console.print(f"Ranked by {objective.metric} ({arrow} is better), each run at its best epoch.", highlight=False)


def short(value: object) -> str:
    """A value in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
