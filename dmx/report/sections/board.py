"""The best ten."""

from dmx.compare.leads import Leads, leads
from dmx.report.account import Account
from dmx.report.html import Html, count, duration, join, number, table, text
from dmx.results.ranking import Entry

TOP = 10
SECOND = ("val/mask/iou_pooled", "val/depth/rmse_pooled", "val/depth/delta1_pooled")


def board(account: Account) -> Html:
    """The leaderboard's first ten."""
    entries = account.ranked
    if not entries:
        return text("No run has left a result.")
    named = [account.metric, *(name for name in SECOND if name != account.metric)]
    metrics = [name for name in named if any(e.result.best and name in e.result.best.metrics for e in entries)]
    stand = leads(account.home, entries[:TOP]) if len(account.directions) == 1 else Leads({}, "")
    to_first = ["to 1st"] if stand.by_run else []
    head = [
        "#",
        "run",
        "outcome",
        *map(_short, metrics),
        *to_first,
        "model",
        "losses",
        "optimizer",
        "parameters",
        "time",
    ]
    rows = [_row(place, entry, metrics, stand) for place, entry in enumerate(entries[:TOP], start=1)]
    aligned = (0, *range(3, 3 + len(metrics)), len(head) - 2, len(head) - 1)
    left = len(entries) - TOP
    more = text(f"{count(left, 'run')} more: dmx leaderboard {account.config.name}") if left > 0 else Html()
    told = text(f"To 1st: {stand.told}") if stand.by_run else Html()
    return join(table(head, rows, numbers=aligned, kind="wide tight"), more, told)


def _short(metric: str) -> str:
    return metric.removeprefix("val/").removesuffix("_pooled")


def _row(place: int, entry: Entry, metrics: list[str], stand: Leads) -> tuple[str, ...]:
    best, params = entry.result.best, entry.record["params"]
    found = stand.by_run.get(entry.run)
    to_first = [found.verdict if found else "" if place == 1 else "–"] if stand.by_run else []
    return (
        str(place) if best else "–",
        entry.run,
        str(entry.result.outcome),
        *(number(best.metrics.get(name) if best else None) for name in metrics),
        *to_first,
        str(params["model"]),
        f"{params['loss.mask']}, {params['loss.depth']}",
        f"{params['optimizer']} {number(params.get('optimizer.lr'))}",
        f"{entry.record['parameters'] / 1e6:.2f} M",
        duration(entry.result.seconds),
    )
