"""What failed and why, and what pruning saved."""

import re
from collections import Counter

from dmx.outcome import Outcome
from dmx.report.account import Account, Trial
from dmx.report.html import Html, count, duration, join, table, text

GOOD = (Outcome.COMPLETE, Outcome.PRUNED)


def failed(account: Account) -> Html:
    """How the trials ended, and the reasons of those that came to no value."""
    ended = Counter(trial.asked.outcome for trial in account.trials)
    counts = table(("outcome", "trials"), [(name, str(n)) for name, n in ended.most_common()], numbers=(1,))
    bad = [trial for trial in account.trials if not (trial.complete or trial.asked.outcome == Outcome.PRUNED)]
    if not bad:
        return join(text("Nothing failed."), counts)
    rows = [_group(reason, alike) for reason, alike in grouped(bad).items()]
    told = text(
        f"{count(len(bad), 'trial')} of {len(account.trials)} came to no value; equal but for numbers counts as one:"
    )
    return join(counts, told, table(("outcome", "trials", "which", "reason, of the first"), rows, numbers=(1,)))


def grouped(trials: list[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """Trials by outcome and reason, whatever the numbers in it, the most frequent first."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        alike = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", trial.asked.reason)
        found.setdefault((trial.asked.outcome, alike), []).append(trial)
    return dict(sorted(found.items(), key=lambda group: -len(group[1])))


def _group(reason: tuple[str, str], alike: list[Trial]) -> tuple[str, ...]:
    numbers = ", ".join(str(trial.asked.number) for trial in alike[:8]) + (", …" if len(alike) > 8 else "")
    return reason[0], str(len(alike)), numbers, alike[0].asked.reason or "none was noted"


def pruning(account: Account) -> Html:
    """The epochs that pruned trials did not need."""
    if account.config.pruner.name == "none":
        return text("The study prunes nothing.")
    pruned = [t for t in account.trials if t.asked.outcome == Outcome.PRUNED]
    if not pruned:
        return text("No trial was pruned.")
    stored = [(trial.entry, trial.planned) for trial in pruned if trial.entry and trial.planned]
    saved = sum(epochs - entry.result.epochs for entry, epochs in stored)
    whole = sum(trial.planned or 0 for trial in account.trials)
    times = [
        (e.result.seconds / e.result.epochs) * (epochs - e.result.epochs) for e, epochs in stored if e.result.epochs
    ]
    return text(
        f"{count(len(pruned), 'trial')} of {len(account.trials)} ended early, which saved {count(saved, 'epoch')} of "
        f"{whole} planned ({saved / whole:.0%}), about {duration(sum(times))} at their own pace."
        if whole
        else f"{count(len(pruned), 'trial')} ended early; their runs are not stored, so the epochs are not known."
    )
