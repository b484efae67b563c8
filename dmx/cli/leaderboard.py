"""`dmx leaderboard`."""

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import home as home_option
from dmx.config.objective import COSTS
from dmx.tracking.home import STUDY, Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmx.compare.columns import Extra
    from dmx.config.objective import Goal
    from dmx.errors import UserError
    from dmx.results.ranking import Entry

    Ranked = tuple[Sequence[Entry], Sequence[Goal], int, str]

SHOWN = 30
"""Default number of rows of the table."""


@click.command()
@click.argument("study", required=False)
@click.option("--top", type=click.IntRange(min=1), help="Show this many of the best. [30 in a table, else all]")
@click.option("--json", "form", flag_value="json", help="Print JSON instead of a table, with all metrics.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV instead of a table, with all metrics.")
@home_option
def leaderboard(study: str | None, top: int | None, form: str | None, home: Home) -> None:
    """Rank the runs of a study, or all single runs.

    Best first by the objective on validation, each run at its best epoch; with one objective the column `to 1st` says
    whether a run differs from the first by more than chance. With several, the Pareto front comes first: the runs that
    no other beats in every objective. STUDY is a study's name; without it, runs of `dmx train` are ranked.

    Beneath stand the references: trivial predictors, such as the mean depth map of the training part.
    """
    from dmx.compare.columns import extras

    entries, goals, front, knee = ranked(study, home)
    if not entries:
        raise nothing_to_rank(study, home)
    if form is not None:
        write(entries[:top], form, extras(home, entries))
    else:
        show_ranked(f"Study {study}" if study else "Single runs", home, (entries, goals, front, knee), top or SHOWN)


def nothing_to_rank(study: str | None, home: Home) -> "UserError":
    """Make the error that says why there is nothing to rank, and what to do."""
    from dmx.errors import UserError, did_you_mean

    known = sorted(path.name for path in home.studies.glob("*/"))
    if study in known:
        return UserError(f"no run of study '{study}' has finished in {home.root}; `dmx sweep` goes on with it.")
    if study is not None:
        return UserError(f"there is no study '{study}' in {home.root}; {did_you_mean(study, known)}")
    way = f"`dmx leaderboard STUDY` ranks those of a study: {', '.join(known)}" if known else "`dmx train` makes one"
    return UserError(f"no single run has finished in {home.root}; {way}.")


def ranked(study: str | None, home: Home) -> "Ranked":
    """Return the runs, best first, and for a study its objectives, the size of its Pareto front and the knee."""
    from dmx.results.ranking import rank, results
    from dmx.written import read_yaml

    entries = results(home, study)
    # whether there are several objectives is read without validating the whole configuration, which takes seconds
    if study is None or not (path := home.study(study) / STUDY).is_file() or not read_yaml(path).get("objectives"):
        return rank(entries), (), 0, ""
    from dmx.results.pareto import rank_runs
    from dmx.sweep.definition import load_config

    goals = load_config(home, study).goals
    ordered, front, knee = rank_runs(entries, goals)
    return ordered, goals, front, knee


def write(entries: "Sequence[Entry]", form: str, beneath: "Sequence[Extra]" = ()) -> None:
    """Print the full record of each run at its best epoch, and the rows beneath them, as JSON or CSV."""
    rows: list[dict[str, Any]] = []
    for rank, entry in enumerate(entries, start=1):
        best, result = entry.result.best, entry.result
        facts = {"run": entry.run, "outcome": str(result.outcome), "reason": result.reason, "seconds": result.seconds}
        costs = {cost: entry.record[cost] for cost in COSTS if cost in entry.record}
        metrics = dict(best.metrics) if best else {}
        rows.append(
            {"place": rank if best else None, **facts, "epoch": best.epoch if best else None, **costs, **metrics}
            | {f"param {key}": value for key, value in entry.record["params"].items()}
        )
    rows += [extra.row for extra in beneath]
    if form == "json":
        click.echo("[" + ",\n ".join(map(json.dumps, rows)) + "]")  # `indent` would take a second for thousands of rows
        return
    writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)


def show_study(name: str, home: Home, title: str) -> None:
    """Print the trials of a study, best first by its objective or objectives."""
    show_ranked(title, home, ranked(name, home), SHOWN)


def tell_choice(goals: "Sequence[Goal]", front: int, knee: str, complete: "Sequence[Entry]") -> None:
    """Print which of the complete runs are best by several objectives, and which one `dmx train-best` trains."""
    from dmx.results.pareto import points, run_values

    bounds = [goal for goal in goals if goal.bound is not None]
    free = [goal for goal in goals if goal.bound is None] or [goals[0]]
    named = ", ".join(f"{goal.metric} ({goal.direction})" for goal in free)
    if bounds:
        known = [values for entry in complete if (values := run_values(entry, goals)) is not None]
        met = sum(points(known, goals)[1] == 0) if known else 0
        wanted = " and ".join(map(str, bounds))
        click.echo(f"{met} of {len(known)} complete runs meet {wanted}; these come first.")
        if not met:
            click.echo(f"The nearest to it, which `dmx train-best` trains, is {knee or 'none'}.")
            return
        if len(free) == 1:
            click.echo(f"The best of these by {named}, which `dmx train-best` trains, is {knee}.")
            return
    click.echo(f"By {named}: no run beats one of the first {front} in everything (the Pareto front).")
    click.echo(f"The best compromise of these (the knee), which `dmx train-best` trains, is {knee}.")


def show_ranked(title: str, home: Home, found: "Ranked", top: int) -> None:
    """Print ranked runs as a table that marks which differences are more than chance."""
    from dmx.cli.table import show, tell_standings
    from dmx.compare.columns import extras
    from dmx.compare.leads import leads
    from dmx.results.references import references_of_entries

    entries, goals, front, knee = found
    beneath, references = extras(home, entries), references_of_entries(home, entries)
    if len(goals) < 2:
        show(entries, title, top, leads=leads(home, entries[:top]), extras=beneath)
        tell_standings(references, entries[0], [entries[0].record["objective"]["metric"]])
        return
    show(entries, title, top, [goal.metric for goal in goals], extras=beneath)
    tell_choice(goals, front, knee, [entry for entry in entries if entry.result.outcome == "complete"])
    for entry in entries:
        if entry.run == knee:
            tell_standings(references, entry, [goal.metric for goal in goals])
