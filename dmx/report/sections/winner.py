"""What won, by how much, and whether the noise of seeds could have done it."""

import statistics
from math import sqrt

from dmx.report.account import Account, Trial
from dmx.report.html import Html, count, join, number, shown, table, tag, text

CLEAR = 2.0
"""A lead of so many standard deviations of a difference is not taken for noise."""


def winner(account: Account) -> Html:
    """The best complete trial, its parameters, its lead, its seeds, and its champion on test."""
    complete = account.complete
    if not complete:
        return text("Nothing: no trial is complete.")
    if len(account.directions) > 1:
        return _front(account)
    best = complete[0]
    parts = [_named(account, best), _lead(account, complete), *_seeds(account), _champion(account)]
    rows = [(path, shown(value)) for path, value in best.asked.params.items()]
    parts += [text("What the search chose for it:"), table(("place", "value"), rows)]
    if best.entry:
        whole = [(key, shown(value)) for key, value in best.entry.record["params"].items()]
        told = tag("summary", f"The whole configuration ({len(whole)} values)")
        parts.append(tag("details", told, table(("place", "value"), whole)))
    return join(*parts)


def _front(account: Account) -> Html:
    """Those that no other beats, with what they came to and what the search chose for them."""
    best = account.front
    runs = [trial.asked.run or str(trial.asked.number) for trial in best]
    rows = [(run, *map(number, trial.asked.values)) for run, trial in zip(runs, best, strict=True)]
    told = f"With several objectives none is the best: no other trial beats {count(len(rows), 'trial')} in all of them."
    head = ("run", *account.goals)
    parts = [text(told), table(head, rows, numbers=range(1, len(head)))]
    paths = dict.fromkeys(path for trial in best for path in trial.asked.params)
    chosen = [(path, *(shown(trial.asked.params.get(path, "–")) for trial in best)) for path in paths]
    return join(*parts, text("What the search chose for them:"), table(("place", *runs), chosen))


def _named(account: Account, best: Trial) -> Html:
    described = ""
    if best.entry and best.entry.result.best:
        record, result = best.entry.record, best.entry.result
        epoch = result.best.epoch if result.best else 0
        described = f" ({record['params']['model']}, {record['parameters'] / 1e6:.2f} M parameters, epoch {epoch})"
    name = best.asked.run or f"trial {best.asked.number}"
    value = tag("strong", number(best.value))
    return text(tag("strong", name), f"{described} with ", tag("code", account.metric), " = ", value, ".")


def _lead(account: Account, complete: list[Trial]) -> Html:
    """The distance to the next and, where seeds tell the noise, what it is worth."""
    if len(complete) == 1:
        return text("It is the only complete trial, so there is nothing to compare it with.")
    best, values = complete[0].asked.values[0], [trial.asked.values[0] for trial in complete]
    lead = abs(values[1] - best)
    next_one = complete[1].asked.run or f"trial {complete[1].asked.number}"
    said = (
        f"It leads the next ({next_one}, {number(values[1])}) by {number(lead)} and the median of the "
        f"{len(values)} complete trials by {number(abs(statistics.median(values) - best))}."
    )
    noise = noise_of(account)
    if noise is None:
        return text(said, tag("strong", " How much of that is the noise of seeds is not known"), *_how(account))
    if noise == 0:
        return text(said, " The seeds of its retraining do not differ at all.")
    apart = lead / (sqrt(2) * noise)
    close = sum(abs(value - best) < CLEAR * sqrt(2) * noise for value in values[1:])
    verdict = "beyond the noise of seeds" if apart >= CLEAR else "within the noise of seeds"
    rest = f" {count(close, 'other complete trial')} cannot be told from it." if close else ""
    return text(
        f"{said} One seed from another of the same configuration differs by a standard deviation of {number(noise)}, "
        f"so two runs of equals by {number(sqrt(2) * noise)}: the lead is {apart:.1f} times that, ",
        tag("strong", verdict),
        f" ({CLEAR:g} times is taken as clear).{rest}{_caution(account)}",
    )


def _how(account: Account) -> tuple[str, ...]:
    """The command that measures the noise."""
    ended = len(_values(account))
    name = account.config.name
    if ended == 1:
        why = ": only one seed of it is complete. List several under `train_best.seeds`; then "
    elif account.others:
        why = ": the seeds that were retrained are of another trial, which led then. To measure it: "
    else:
        why = ": each trial ran with one seed. To measure it: "
    return why, tag("code", f"dmx train-best {name}"), "."


def _caution(account: Account) -> str:
    budgets = {entry.record["params"]["stages"] for entry in account.seeds}
    trial = account.complete[0].entry
    few = f" {len(_values(account))} seeds tell a deviation roughly only." if len(_values(account)) < 10 else ""
    had = trial.record["params"]["stages"] if trial else ""
    if budgets == {had}:
        return few
    return f"{few} The seeds had the full budget ({', '.join(sorted(budgets))}), the trials {had}."


def _values(account: Account) -> list[float]:
    """The objective of the complete seeds."""
    return [
        entry.result.best.value for entry in account.seeds if entry.result.outcome == "complete" and entry.result.best
    ]


def noise_of(account: Account) -> float | None:
    """The sample deviation of the objective over the seeds of the winner; None where fewer than two are complete."""
    values = _values(account)
    return statistics.stdev(values) if len(values) > 1 else None


def _seeds(account: Account) -> list[Html]:
    if not account.seeds:
        return []
    values = _values(account)
    rows = [
        (
            entry.run,
            str(entry.record["params"]["seed"]),
            str(entry.result.outcome),
            number(entry.result.best.value if entry.result.best else None),
        )
        for entry in account.seeds
    ]
    spread = f": {number(statistics.mean(values))} ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
    return [
        text(f"Retrained at full budget over {count(len(rows), 'seed')}{spread}."),
        table(("run", "seed", "outcome", account.metric), rows, numbers=(1, 3)),
    ]


def _champion(account: Account) -> Html:
    """The champion on test, read once."""
    if account.champion is None:
        return Html()
    run, test = account.champion
    if not test:
        return text(f"The champion is {run}; the split has no test part.")
    name = account.metric.replace("val/", "test/", 1)
    return text(
        f"The champion is {run}. On test, which was read once, for it: ",
        tag("code", name),
        f" = {number(test.get(name))}.",
    )
