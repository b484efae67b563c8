"""What was searched: the space in words, the trials, how they ended, the time."""

from collections import Counter

from dmx.report.account import Account
from dmx.report.html import Html, count, duration, join, table, tag, text
from dmx.report.reading import Axis


def searched(account: Account) -> Html:
    """The study in a paragraph and its space in a table."""
    config, trials = account.config, account.trials
    ended = Counter(trial.asked.outcome for trial in trials)
    outcomes = ", ".join(f"{amount} {outcome}" for outcome, amount in ended.most_common())
    ways = ["lower" if direction == "minimize" else "higher" for direction in account.directions]
    judged = ", ".join(f"{goal} ({way} is better)" for goal, way in zip(account.goals, ways, strict=True))
    waiting = f" of {config.trials} wanted" if len(trials) < config.trials else ""
    varied = [axis for axis in account.axes if len(axis.choices) != 1]
    fixed = [axis for axis in account.axes if len(axis.choices) == 1]
    pruning = f"{config.pruner.name} pruning" if config.pruner.name != "none" else "no pruning"
    lines = [
        text(
            f"{count(len(trials), 'trial')}{waiting} ended: {outcomes}. Judged by ",
            tag("code", judged),
            " on validation, each run at its best epoch. "
            f"Sampler {config.sampler.name} with seed {config.seed}, {pruning}.",
        ),
        text(_time(account)),
        text(f"{count(len(varied), 'place')} of the experiment varied:"),
        table(("place", "tried", "drawn in"), [_row(axis) for axis in varied], numbers=(2,)),
    ]
    if fixed:
        held = ", ".join(f"{axis.path} = {axis.choices[0]}" for axis in fixed)
        lines.append(text(f"Held fixed: {held}."))
    return join(*lines)


def _row(axis: Axis) -> tuple[str, ...]:
    return axis.path, axis.words, count(axis.drawn, "trial")


def _time(account: Account) -> str:
    """The time that training took, and that passed."""
    trained = sum(trial.entry.result.seconds for trial in account.trials if trial.entry)
    began = [trial.asked.began for trial in account.trials if trial.asked.began]
    ended = [trial.asked.ended for trial in account.trials if trial.asked.ended]
    said = f"Training took {duration(trained)} in all"
    if not began or not ended:
        return f"{said}."
    passed = (max(ended) - min(began)).total_seconds()
    return (
        f"{said}; from the first trial's start ({min(began):%Y-%m-%d %H:%M}) to the last one's end {duration(passed)}."
    )
