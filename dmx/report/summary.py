"""Text, table and picture sections of the report: the search, the best ten, failures, pruning, samples."""

import re
from collections import Counter
from pathlib import Path

from markupsafe import Markup

from dmx.compare.columns import Kind, Value, columns, extras
from dmx.compare.leads import Leads, leads
from dmx.outcome import Outcome
from dmx.report.html import count, duration, figure, inline, join, number, table, tag, text
from dmx.report.reading import Trial
from dmx.report.study_data import StudyData
from dmx.tracking.home import CHAMPION_PICTURE

TOP = 10
SHEETS = Path("images") / "val"
"""Folder of a run's validation contact sheets, named by step."""


def searched(study: StudyData) -> Markup:
    """Render a paragraph about the study and a table of its search space."""
    config, trials = study.config, study.trials
    ended = Counter(trial.outcome for trial in trials)
    outcomes = ", ".join(f"{amount} {outcome}" for outcome, amount in ended.most_common())
    ways = ["lower" if direction == "minimize" else "higher" for direction in study.directions]
    judged = ", ".join(f"{goal} ({way} is better)" for goal, way in zip(study.config.goals, ways, strict=True))
    waiting = f" of {config.trials} wanted" if len(trials) < config.trials else ""
    varied = [axis for axis in study.axes if len(axis.choices) != 1]
    fixed = [axis for axis in study.axes if len(axis.choices) == 1]
    pruning = f"{config.pruner.name} pruning" if config.pruner.name != "none" else "no pruning"
    rows = [(axis.path, axis.words, count(axis.drawn, "trial")) for axis in varied]
    lines = [
        text(
            f"{count(len(trials), 'trial')}{waiting} ended: {outcomes}. Judged by ",
            tag("code", judged),
            " on validation, each run at its best epoch. "
            f"Sampler {config.sampler.name} with seed {config.seed}, {pruning}.",
        ),
        text(_time(study)),
        text(f"{count(len(varied), 'place')} of the experiment varied:"),
        table(("setting", "tried", "drawn in"), rows, numbers=(2,)),
    ]
    if fixed:
        held = ", ".join(f"{axis.path} = {axis.choices[0]}" for axis in fixed)
        lines.append(text(f"Held fixed: {held}."))
    return join(*lines)


def _time(study: StudyData) -> str:
    """Describe training time and elapsed time."""
    trained = sum(trial.entry.result.seconds for trial in study.trials if trial.entry)
    began = [trial.began for trial in study.trials if trial.began]
    ended = [trial.ended for trial in study.trials if trial.ended]
    said = f"Training took {duration(trained)} in all"
    if not began or not ended:
        return f"{said}."
    passed = (max(ended) - min(began)).total_seconds()
    return (
        f"{said}; from the first trial's start ({min(began):%Y-%m-%d %H:%M}) to the last one's end {duration(passed)}."
    )


def board(study: StudyData) -> Markup:
    """Render the ten best runs, and beneath them references and networks of others."""
    entries = study.ranked
    if not entries:
        return text("No run has left a result.")
    stand = leads(study.home, entries[:TOP]) if len(study.directions) == 1 else Leads({}, "")
    wanted = columns(entries, study.goals, stand)
    rows = [
        [_written(column.kind, column.value(rank, entry)) for column in wanted]
        for rank, entry in enumerate(entries[:TOP], start=1)
    ]
    rows += [[_written(column.kind, column.extra(row)) for column in wanted] for row in extras(study.home, entries)]
    numbers = [i for i, column in enumerate(wanted) if column.kind not in ("name", "text")]
    left = len(entries) - TOP
    more = text(f"{count(left, 'run')} more: dmx leaderboard {study.config.name}") if left > 0 else Markup()
    note = text(f"To 1st: {stand.message}") if stand.by_run else Markup()
    return join(table([column.name for column in wanted], rows, numbers=numbers, kind="wide tight"), more, note)


def _written(kind: Kind, value: Value) -> str:
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    match kind:
        case "metric":
            return number(value)
        case "parameters":
            return f"{value / 1e6:.2f} M"
        case "seconds":
            return duration(value)
    return str(value)


def failures(study: StudyData) -> Markup:
    """Render trials by outcome, and the reasons of those without a value."""
    ended = Counter(trial.outcome for trial in study.trials)
    counts = table(("outcome", "trials"), [(name, str(n)) for name, n in ended.most_common()], numbers=(1,))
    bad = [trial for trial in study.trials if not (trial.complete or trial.outcome == Outcome.PRUNED)]
    if not bad:
        return join(text("Nothing failed."), counts)
    rows = [_group(reason, alike) for reason, alike in grouped(bad).items()]
    note = text(
        f"{count(len(bad), 'trial')} of {len(study.trials)} came to no value; equal but for numbers counts as one:"
    )
    return join(counts, note, table(("outcome", "trials", "which", "reason, of the first"), rows, numbers=(1,)))


def grouped(trials: list[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """Group trials by outcome and reason, ignoring numbers in the reason; the most frequent first."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        alike = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", trial.reason)
        found.setdefault((trial.outcome, alike), []).append(trial)
    return dict(sorted(found.items(), key=lambda group: -len(group[1])))


def _group(reason: tuple[str, str], alike: list[Trial]) -> tuple[str, ...]:
    numbers = ", ".join(str(trial.number) for trial in alike[:8]) + (", …" if len(alike) > 8 else "")
    return reason[0], str(len(alike)), numbers, alike[0].reason or "none was noted"


def pruning(study: StudyData) -> Markup:
    """Render the epochs saved by pruning."""
    if study.config.pruner.name == "none":
        return text("The study prunes nothing.")
    pruned = [t for t in study.trials if t.outcome == Outcome.PRUNED]
    if not pruned:
        return text("No trial was pruned.")
    stored = [(trial.entry, trial.planned) for trial in pruned if trial.entry and trial.planned]
    saved = sum(epochs - entry.result.epochs for entry, epochs in stored)
    whole = sum(trial.planned or 0 for trial in study.trials)
    times = [
        (e.result.seconds / e.result.epochs) * (epochs - e.result.epochs) for e, epochs in stored if e.result.epochs
    ]
    return text(
        f"{count(len(pruned), 'trial')} of {len(study.trials)} ended early, which saved {count(saved, 'epoch')} of "
        f"{whole} planned ({saved / whole:.0%}), about {duration(sum(times))} at their own pace."
        if whole
        else f"{count(len(pruned), 'trial')} ended early; their runs are not stored, so the epochs are not known."
    )


def pictures(study: StudyData) -> Markup:
    """Render sample predictions for several values of the objective."""
    complete = study.complete
    if not complete:
        return text("None: no trial is complete.")
    chosen = {"Best": complete[0], "Median": complete[len(complete) // 2], "Worst": complete[-1]}
    shown: list[str] = []
    parts = _gain(study.home.study(study.config.name) / CHAMPION_PICTURE) if study.champion else []
    for which, trial in chosen.items():
        if trial.run in shown:
            continue
        shown.append(trial.run)
        caption = f"{which} complete trial: {trial.run}, {study.metric} = {number(trial.value)}"
        parts.append(_picture(study.home.run(trial.run) / SHEETS, caption))
    return join(*parts)


def _gain(picture: Path) -> list[Markup]:
    """Render the picture of the first trial and the champion, if `train-best` has left one."""
    if not picture.is_file():
        return []
    says = "Validation samples, evenly spread: trial 0, the experiment as it stands, above, and the champion below."
    return [figure(inline(picture.read_bytes(), says), says)]


def _picture(folder: Path, caption: str) -> Markup:
    sheet = last(folder)
    if sheet is None:
        return text(f"{caption}. It has left no sheet.")
    says = f"{caption}. The sheet of its last validation, step {int(sheet.stem)}."
    return figure(inline(sheet.read_bytes(), caption), says)


def last(folder: Path) -> Path | None:
    """Return the contact sheet of the latest step."""
    return max(folder.glob("*.png"), key=lambda path: path.stem.zfill(20), default=None)
