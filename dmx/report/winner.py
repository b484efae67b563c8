"""The winning trial, its lead, and whether the lead exceeds the noise of seeds."""

import statistics
from math import sqrt

from markupsafe import Markup

from dmx.compare.difference import quantile
from dmx.compare.leads import CHOSEN, leads
from dmx.compare.race import certainty, compared
from dmx.report.html import count, join, number, shown, table, tag, text
from dmx.report.reading import Trial
from dmx.report.study_data import StudyData
from dmx.report.summary import TOP
from dmx.results.pareto import points


def winner(study: StudyData) -> Markup:
    """Render the best complete trial: parameters, lead, seeds, and the champion on test."""
    complete = study.complete
    if not complete:
        return text("Nothing: no trial is complete.")
    if len(study.directions) > 1:
        return _front(study)
    best = complete[0]
    parts = [_named(study, best), *_lead(study, complete), *_seeds(study), _champion(study)]
    rows = [(path, shown(value)) for path, value in best.params.items()]
    parts += [text("What the search chose for it:"), table(("setting", "value"), rows)]
    if best.entry:
        whole = [(key, shown(value)) for key, value in best.entry.record["params"].items()]
        summary = tag("summary", f"The whole configuration ({len(whole)} values)")
        parts.append(tag("details", summary, table(("setting", "value"), whole)))
    return join(*parts)


def _front(study: StudyData) -> Markup:
    """Render the non-dominated trials with their objective values and parameters."""
    best = study.front
    runs = [trial.run or str(trial.number) for trial in best]
    rows = [(run, *map(number, trial.values)) for run, trial in zip(runs, best, strict=True)]
    note = (
        f"With several objectives none is the best: no other trial beats {count(len(rows), 'trial')} in all of them. "
        "Each was chosen for its values, so it is lucky, too: trained anew it will on average do worse."
    )
    if study.bounds:
        met = sum(points([trial.values for trial in study.complete], study.config.goals)[1] == 0)
        of = f"{met} of {count(len(study.complete), 'complete trial')}"
        note = (
            f"{of} meet {study.bounds}; of these no other beats the following by the other objectives. "
            if met
            else f"No complete trial meets {study.bounds}; the following is the nearest to it. "
        ) + note.partition(". ")[2]
    head = ("run", *study.goals)
    parts = [text(note), table(head, rows, numbers=range(1, len(head)))]
    paths = dict.fromkeys(path for trial in best for path in trial.params)
    chosen = [(path, *(shown(trial.params.get(path, "–")) for trial in best)) for path in paths]
    parts += [
        text("What the search chose for them:"),
        table(("setting", *runs), chosen),
        *_seeds(study),
        _champion(study),
    ]
    return join(*parts)


def _named(study: StudyData, best: Trial) -> Markup:
    described = ""
    if best.entry and best.entry.result.best:
        record, result = best.entry.record, best.entry.result
        epoch = result.best.epoch if result.best else 0
        described = f" ({record['params']['model']}, {record['parameters'] / 1e6:.2f} M parameters, epoch {epoch})"
    name = best.run or f"trial {best.number}"
    value = tag("strong", number(best.value))
    return text(tag("strong", name), f"{described} with ", tag("code", study.metric), " = ", value, ".")


def _lead(study: StudyData, complete: list[Trial]) -> list[Markup]:
    """Describe the lead over the next trial, whether it is more than chance, and how it compares with seed noise."""
    if len(complete) == 1:
        return [text("It is the only complete trial, so there is nothing to compare it with.")]
    best, values = complete[0].values[0], [trial.values[0] for trial in complete]
    lead = abs(values[1] - best)
    next_one = complete[1].run or f"trial {complete[1].number}"
    said = (
        f"It leads the next ({next_one}, {number(values[1])}) by {number(lead)} and the median of the "
        f"{len(values)} complete trials by {number(abs(statistics.median(values) - best))}."
    )
    return [text(said), *_by_sample(study, complete, next_one), _by_seed(study, lead, values), text(CHOSEN)]


def _by_sample(study: StudyData, complete: list[Trial], next_one: str) -> list[Markup]:
    """Compare the next trials with the winner on the validation samples."""
    found = leads(study.home, [trial.entry for trial in complete[:TOP] if trial.entry])
    if next_one not in found.by_run:
        return [text("Whether that is more than chance on these samples is not known: they are not on record.")]
    one = found.by_run[next_one]
    unclear = sum(not other.clear for other in found.by_run.values())
    return [
        text(
            f"On the validation samples the next against it is {one.value:+.3g} [{one.low:+.2g}, {one.high:+.2g}]: ",
            tag("strong", one.verdict),
            f"; {unclear} of the {len(found.by_run)} next ones cannot be told apart from it. {found.message}",
        )
    ]


def _by_seed(study: StudyData, lead: float, values: list[float]) -> Markup:
    """Compare the lead with the noise of seeds."""
    noise = noise_of(study)
    if noise is None:
        return text(tag("strong", "How much of that is the noise of seeds is not known"), *_how(study))
    if noise == 0:
        return text("The seeds of its retraining do not differ at all.")
    seeds = len(_values(study))
    limit = quantile(seeds - 1) * sqrt(2) * noise
    verdict = "beyond the noise of seeds" if lead > limit else "within the noise of seeds"
    close = sum(abs(value - values[0]) <= limit for value in values[1:])
    rest = f" {count(close, 'other complete trial')} cannot be told apart from it so." if close else ""
    return text(
        f"One seed from another of the same configuration differs by a standard deviation of {number(noise)} "
        f"({seeds} seeds). Where others scatter alike, two single runs of equals are up to {number(limit)} apart in "
        "95 % of all cases: the lead is ",
        tag("strong", verdict),
        f".{rest}{_caution(study)}",
    )


def _how(study: StudyData) -> tuple[str, ...]:
    """Return the command that measures the noise of seeds."""
    ended = len(_values(study))
    name = study.config.name
    if ended == 1:
        why = ": only one seed of it is complete. List several under `train_best.seeds`; then "
    elif study.others:
        why = ": the seeds that were retrained are of another trial, which led then. To measure it: "
    else:
        why = ": each trial ran with one seed. To measure it: "
    return why, tag("code", f"dmx train-best {name}"), "."


def _caution(study: StudyData) -> str:
    budgets = {entry.record["params"]["stages"] for entry in study.seeds}
    trial = study.complete[0].entry
    had = trial.record["params"]["stages"] if trial else ""
    if budgets == {had}:
        return ""
    return f" The seeds had the full budget ({', '.join(sorted(budgets))}), the trials {had}."


def _values(study: StudyData) -> list[float]:
    """Return the objective values of the seeds that completed."""
    return [
        entry.result.best.value for entry in study.seeds if entry.result.outcome == "complete" and entry.result.best
    ]


def noise_of(study: StudyData) -> float | None:
    """Return the objective's sample standard deviation over the winner's seeds; None with fewer than two complete."""
    values = _values(study)
    return statistics.stdev(values) if len(values) > 1 else None


def _seeds(study: StudyData) -> list[Markup]:
    if not study.seeds:
        return []
    values = _values(study)
    rows = [
        (
            entry.run,
            str(entry.record["params"]["seed"]),
            str(entry.result.outcome),
            number(entry.result.best.value if entry.result.best else None),
        )
        for entry in study.seeds
    ]
    spread = f": {number(statistics.mean(values))} ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
    return [
        text(f"Retrained at full budget over {count(len(rows), 'seed')}{spread}."),
        table(("run", "seed", "outcome", study.metric), rows, numbers=(1, 3)),
        *_finalists(study),
    ]


def _finalists(study: StudyData) -> list[Markup]:
    """Render all trials that were trained anew, and how sure the choice among them is."""
    if len(study.finalists) < 2:
        return []
    rows = [(one.trial, str(one.seeds), *map(number, one.values), compared(one)) for one in study.finalists]
    head = ("trial", "seeds", *study.goals, "difference from the first")
    return [
        text("The best trials, trained anew, with means over their seeds. ", certainty(study.finalists)),
        table(head, rows, numbers=range(1, len(head) - 1)),
    ]


def _champion(study: StudyData) -> Markup:
    """Render the champion's test metrics, and for which networks test was read."""
    from dmx.experiment.evaluation_store import read_on_test, usage_of_test  # imports torch

    if study.champion is None:
        return Markup()
    run, test = study.champion.champion, study.champion.test
    if not test:
        return text(f"The champion is {run}; the split has no test part.")
    names = [name.replace("val/", "test/", 1) for name in study.goals]
    values = [f"{name} = {number(test.get(name))}" for name in names]
    return text(
        f"The champion is {run}. On test: ",
        tag("code", ", ".join(values)),
        f". {usage_of_test(read_on_test(study.home, run))}",
    )
