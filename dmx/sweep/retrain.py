"""Retraining of the best trials at full budget: several seeds, compared on validation, the best evaluated on test."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dmx.compare.race import Finalist, means, standings
from dmx.config import ExperimentConfig, StudyConfig, parse_experiment
from dmx.config.objective import COSTS, Goal
from dmx.errors import UserError, did_you_mean
from dmx.experiment import UNFINISHED, Prepared, RunOptions, Tracking, prepare, remove_unneeded_files, run, run_id_of
from dmx.experiment.evaluate import Evaluation, evaluate
from dmx.experiment.evaluation_store import keep, read_on_test, usage_of_test
from dmx.experiment.initial_weights import check_weights_of_ended
from dmx.experiment.trained import best_weights, trained
from dmx.outcome import Outcome
from dmx.results.pareto import best_choice, run_values
from dmx.results.ranking import Entry, comparable, rank, results
from dmx.results.records import Chosen, kept_yaml, read_chosen, read_result
from dmx.stored import replace_text
from dmx.sweep.definition import load_config
from dmx.sweep.events import SweepObserver
from dmx.sweep.study import exclusive
from dmx.tracking.home import CHAMPION, CONFIG, Home
from dmx.training.checkpoint import load_weights


@dataclass(frozen=True)
class BestReport:
    """The result of `train-best`.

    Attributes:
        study: The study.
        trial: The run of the trial that is best over its seeds.
        seeds: The runs of its seeds, best first.
        finalists: All that were trained anew, the best first.
        trials: The number of complete trials that they were taken from.
        champion: The run of the best seed on validation.
        test: The champion's metrics on test, evaluated once; None if the split has no test part.
        readings: A sentence on the networks that were evaluated on test.
        prepared: The champion's configuration, data, and model with the best weights.
    """

    study: str
    trial: str
    seeds: tuple[Entry, ...]
    finalists: tuple[Finalist, ...]
    trials: int
    champion: str
    test: dict[str, float | None] | None
    readings: str
    prepared: Prepared

    def spread(self, metric: str) -> tuple[float, float | None] | None:
        """Mean and sample standard deviation of a validation metric over the complete seeds; None if one lacks it.

        One seed has no standard deviation.
        """
        complete = [entry.result.best for entry in self.seeds if entry.result.outcome is Outcome.COMPLETE]
        known = [value for best in complete if best and (value := best.metrics.get(metric)) is not None]
        if not known or len(known) < len(complete):
            return None
        return statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None


def train_best(
    name: str,
    home: Home,
    observer: SweepObserver,
    pick: str | None = None,
    page: Callable[[Evaluation], str] = lambda found: "",
) -> BestReport | None:
    """Retrain the study's finalists with each seed at full budget; evaluate the best seed of the best once on test.

    Args:
        name: The study.
        home: The results folder.
        observer: Receives the events.
        pick: With several objectives, the one to choose the trial by, or `knee`; None: the knee of what meets the
            objectives' bounds.
        page: Renders the champion's evaluation on test as HTML.

    Returns:
        The result; None if training was interrupted.

    Raises:
        UserError: There is no such study, or none of its trials is complete.
    """
    study = load_config(home, name)
    ended = [entry for entry in results(home, name) if entry.result.outcome is Outcome.COMPLETE]
    complete = [entry for entry in ended if entry.result.best is not None]
    if not complete:
        raise UserError(
            f"{home.root / 'runs'} holds no complete trial of study '{name}'; run `dmx sweep` first, or bring back the "
            "runs' folders where they were removed."
        )
    goals = deciding(study, pick)
    chosen = pick_finalists(complete, goals, study.train_best.finalists)
    with exclusive(home.study(name)):
        found = race(study, chosen, goals, home, observer)
        if found is None:
            return None
        finalists = standings(home, found, goals)
        trial = finalists[0].trial if finalists else chosen[0]
        ranked = rank(found[trial])
        if not finalists:
            raise UserError(f"no seed of {trial} came to an end: {ranked[0].run} {ranked[0].result.reason}.")
        champion = prepare(retrain_config(study, trial, home, seed_of(ranked[0])), home, observer.loading)
        load_weights(best_weights(home, ranked[0].run), champion.model)
        test = _test(champion, ranked[0], home, page)
        return BestReport(
            study=name,
            trial=trial,
            seeds=tuple(ranked),
            finalists=tuple(finalists),
            trials=len(complete),
            champion=ranked[0].run,
            test=test,
            readings=usage_of_test(read_on_test(home, ranked[0].run)) if test else "",
            prepared=champion,
        )


def deciding(study: StudyConfig, pick: str | None) -> list[Goal]:
    """The objectives that decide between trials: all, all without bounds (`knee`), or the one that is picked.

    Raises:
        UserError: The study has no such objective.
    """
    if pick is None:
        return list(study.goals)
    free = [Goal(metric=goal.metric, direction=goal.direction) for goal in study.goals]
    named = [goal for goal in free if pick in (goal.metric, "knee")]
    if not named or (pick == "knee" and len(free) == 1):
        legal = [goal.metric for goal in free] + ["knee"] * (len(free) > 1)
        raise UserError(f"--pick {pick}: study '{study.name}' has no such objective; {did_you_mean(pick, legal)}")
    return named


def pick_finalists(complete: Sequence[Entry], goals: Sequence[Goal], most: int) -> list[str]:
    """The runs of the best trials, best first.

    Costs and bounds are known without noise: where a cost alone decides, there is one finalist, and where the best
    meets bounds, only others that meet them are finalists.
    """
    comparable(complete, ("objective", "data", "split", "size", "definitions"))
    once = {str(entry.record["fingerprint"]): entry for entry in reversed(complete)}  # without repeats
    entries = {entry.run: entry for entry in sorted(once.values(), key=lambda entry: entry.run)}
    values, ordered = means({run: [entry] for run, entry in entries.items()}, goals), list[str]()
    while values and len(ordered) < (most if goals[0].metric not in COSTS or len(goals) > 1 else 1):
        ordered.append([*values][best_choice([*values.values()], goals)])
        del values[ordered[-1]]
    missed = {run: shortfall(entries[run], goals) for run in ordered}
    return [run for run in ordered if missed[run] <= missed[ordered[0]]]


def shortfall(entry: Entry, goals: Sequence[Goal]) -> float:
    """By how much a run misses the bounds of all objectives."""
    values = run_values(entry, goals) or []
    return sum(goal.shortfall(value) for goal, value in zip(goals, values, strict=False))


def race(
    study: StudyConfig, trials: Sequence[str], goals: Sequence[Goal], home: Home, observer: SweepObserver
) -> dict[str, list[Entry]] | None:
    """Train the finalists with one seed after another; from the second on, those that are clearly worse are out.

    Returns:
        The runs of each trial; None if training was interrupted.
    """
    found: dict[str, list[Entry]] = {trial: [] for trial in trials}
    running, total = list(trials), len(trials) * len(study.train_best.seeds)
    for seed in study.train_best.seeds:
        for trial in running:
            started = sum(map(len, found.values()))
            observer.trial_started(started, total, {"model": f"{trial} at full budget, seed {seed}"})
            entry, interrupted = _train(retrain_config(study, trial, home, seed), study, home, observer)
            if interrupted:
                return None
            found[trial].append(entry)
        now = standings(home, {trial: found[trial] for trial in running}, goals)
        if now and now[0].seeds > 1:
            running = [one.trial for one in now if not one.clearly_worse]
    return found


def seed_of(entry: Entry) -> int:
    """The seed that a run was trained with."""
    return int(entry.record["params"]["seed"])


def retrain_config(study: StudyConfig, trial: str, home: Home, seed: int) -> ExperimentConfig:
    """The trial's configuration with another seed and the study's full budget."""
    path = home.run(trial) / CONFIG
    data: dict[str, Any] = kept_yaml(path)
    data |= {"name": f"{study.name}-best-s{seed}", "seed": seed}
    if study.train_best.stages is not None:
        data["stages"] = [stage.model_dump(mode="json") for stage in study.train_best.stages]
    return parse_experiment(data, str(path))


def _train(config: ExperimentConfig, study: StudyConfig, home: Home, observer: SweepObserver) -> tuple[Entry, bool]:
    run_id = run_id_of(config)
    found = read_result(home.run(run_id))
    if found is not None:
        check_weights_of_ended(found[1], config, home, f"run {run_id}")
    if found is None or found[0].outcome in UNFINISHED:
        tags = {"dmx.role": "best", "dmx.study": study.name}
        prepared = prepare(config, home, observer.loading, measure=study.measured)
        options = RunOptions(progress=observer, required_metrics=study.metrics)
        result, _ = run(prepared, home, run_id, Tracking(study.name, tags), options)
        observer.trial_finished(config.seed, result)
        found = read_result(home.run(run_id))
        assert found is not None  # `run` has just written it
    remove_unneeded_files(home.run(run_id), found[0].outcome, config)
    return Entry(run_id, *found), found[0].outcome is Outcome.INTERRUPTED


def _test(
    prepared: Prepared, entry: Entry, home: Home, page: Callable[[Evaluation], str]
) -> dict[str, float | None] | None:
    """The champion's metrics on test; earlier evaluations, of it or of a former champion, stay in best.json."""
    path = home.study(entry.record["tags"]["dmx.study"]) / CHAMPION
    before = read_chosen(path)
    readings = [] if before is None else [*before.earlier, before.model_copy(update={"earlier": []})]
    who = {key: str(entry.record.get(key, "")) for key in ("data", "split", "fingerprint")}
    known = [one for one in readings if one.champion == entry.run and one.identity in (None, who)]
    now = known[0] if known else _read(prepared, entry, home, page, who)
    others = [one for one in readings if one is not now]
    replace_text(path, now.model_copy(update={"earlier": others}).model_dump_json(indent=1))
    return now.test


def _read(
    prepared: Prepared, entry: Entry, home: Home, page: Callable[[Evaluation], str], who: dict[str, str]
) -> Chosen:
    """The champion's metrics on test, with the time of the evaluation."""
    test: dict[str, float | None] | None = None
    if prepared.split.test:
        found = evaluate(trained(home, entry.run), prepared.index.root, "test", home)
        keep(found, page(found), home)
        test = {f"test/{name}": value for name, value in found.values.items()}
    return Chosen(champion=entry.run, identity=who, test=test, when=datetime.now(UTC).isoformat(timespec="seconds"))
