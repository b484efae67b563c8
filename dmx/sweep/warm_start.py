"""What an earlier study found, for a study that begins: `warm_start: STUDY`.

The earlier study's best configurations are tried first. The sampler gets its trials as if they were the study's own, by
their order and not by their values, because data and budget may differ. They fade: each own trial replaces one of them.
All of it is read once, when the study begins, and kept in its Optuna storage; so proposals do not depend on what
becomes of the earlier study.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from dmx.config import StudyConfig, parse_experiment
from dmx.config.components import COMPONENT_PATHS, component_at
from dmx.config.space import Space, value_at
from dmx.config.study import WarmStartConfig
from dmx.errors import UserError
from dmx.sweep.definition import IN_FOLDER, load_trials
from dmx.sweep.sampler_view import MAX_WARM_START_TRIALS, in_order, is_infeasible_or_failed, thinned
from dmx.sweep.suggest import baseline_params, distribution
from dmx.sweep.trial_queue import TrialQueue, trial_run_id
from dmx.tracking.home import STORAGE, STUDY, Home

WARM_START = "dmx.warm_start"
"""User attribute of the study in Optuna's storage: what it begins with."""
TOLD = "told"
"""The key in it of `WarmStart.sampler_trials`."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """What a study begins with.

    Attributes:
        runs: The runs of the earlier study's best trials.
        queue: Their values in this study's space; what is missing is drawn.
        sampler_trials: The values of the earlier trials that the sampler gets, best first.
    """

    runs: Sequence[str] = ()
    queue: Sequence[Mapping[str, Any]] = ()
    sampler_trials: Sequence[Mapping[str, Any]] = ()

    def trials(self, space: Space) -> list[FrozenTrial]:
        """The earlier trials as the sampler sees them, best first, numbered before the study's own."""
        by_path = {dimension.path: dimension for dimension in space.dimensions}
        found = []
        for rank, values in enumerate(self.sampler_trials):
            wanted = {path: distribution(by_path[path]) for path in values}
            trial = create_trial(params=dict(values), distributions=wanted, value=float(rank))
            trial.number = rank - len(self.sampler_trials)
            found.append(trial)
        return found


def read_warm_start(config: StudyConfig, space: Space, home: Home, url: str | None) -> WarmStart:
    """Read what the study that `config.warm_start` names has found.

    Raises:
        UserError: There is no such study, or nothing to learn from it.
    """
    given = config.warm_start
    if given is None:
        return WarmStart()
    earlier, queue = _earlier(given.study, home, url)
    return learned(given, queue.trials(), earlier, config, space)


def learned(
    given: WarmStartConfig, trials: Sequence[FrozenTrial], earlier: StudyConfig, config: StudyConfig, space: Space
) -> WarmStart:
    """What a study begins with, of an earlier study's trials; what does not fit is left out, with a warning.

    Args:
        given: What is asked for.
        trials: The earlier study's trials.
        earlier: The earlier study.
        config: The study that begins.
        space: Its search space.

    Raises:
        UserError: None of the trials is complete.
    """
    ranked = in_order(trials, earlier)
    if not any(trial.state is TrialState.COMPLETE for trial in ranked):
        raise UserError(f"warm_start: no trial of study '{given.study}' is complete; let it come further first.")
    before, now = ([str(goal.metric) for goal in one.goals] for one in (earlier, config))
    if before != now:
        log.warning(
            "warm_start: study '%s' is judged by %s, and this one by %s; its trials are taken in its own order.",
            given.study,
            ", ".join(before),
            ", ".join(now),
        )
    carried = [(trial, *_carried(trial, earlier, space)) for trial in ranked]
    if why := Counter(reason for _, _, reason in carried if reason):
        reasons = "; ".join(f"{reason} ({count})" for reason, count in why.most_common())
        log.warning(
            "warm_start: %d of %d trials of '%s' are left out: %s.", why.total(), len(ranked), given.study, reasons
        )
    fitting = [(trial, values) for trial, values, reason in carried if not reason]
    runs, best = _best(fitting, given.study, [baseline_params(space), *config.queue], given.top)
    return WarmStart(runs, best, [values for _, values in thinned(fitting, MAX_WARM_START_TRIALS)])


def _earlier(study: str, home: Home, url: str | None) -> tuple[StudyConfig, TrialQueue]:
    """The earlier study and its trials: in this folder, or in the database of the new one."""
    here: Path = home.study(study) / STORAGE
    in_folder = (home.study(study) / STUDY).is_file() and (not here.is_file() or here.read_text() == IN_FOLDER)
    try:
        return load_trials(home, study, None if in_folder else url)
    except UserError as error:
        raise UserError(f"warm_start: {error}") from error


def _best(
    fitting: Sequence[tuple[FrozenTrial, dict[str, Any]]], study: str, others: Sequence[Mapping[str, Any]], top: int
) -> tuple[list[str], list[dict[str, Any]]]:
    """The runs and values of the best complete trials that differ from each other and from what is tried anyway."""
    runs: list[str] = []
    best: list[dict[str, Any]] = []
    for trial, values in fitting:
        if trial.state is TrialState.COMPLETE and not is_infeasible_or_failed(trial) and values not in [*others, *best]:
            runs.append(trial_run_id(study, trial.number))
            best.append(values)
    return runs[:top], best[:top]


def _carried(trial: FrozenTrial, earlier: StudyConfig, space: Space) -> tuple[dict[str, Any], str]:
    """A trial's values in another space.

    What the earlier study did not search has the value of its experiment, or the component's default.

    Returns:
        The values, and why the trial does not fit; empty if it does.
    """
    try:
        data = parse_experiment(Space(earlier.experiment, ()).raw(trial.params), "an earlier trial").dump()
    except UserError:
        return {}, "it is no valid configuration any more"
    own, paths = space.experiment.dump(), {dimension.path for dimension in space.dimensions}
    for path in COMPONENT_PATHS:
        name = component_at(data, path)["name"]
        if path in trial.params and path not in paths and name != component_at(own, path)["name"]:
            return {}, f"{path} is not {name} here"
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if not dimension.applies(values):
            continue
        try:
            found = trial.params.get(dimension.path, value_at(data, dimension))
        except ValueError:  # the earlier experiment has no such path
            continue
        if dimension.holds(found):
            values[dimension.path] = found
        elif dimension.path in trial.params or dimension.path in COMPONENT_PATHS:
            return {}, f"search.{dimension.path} does not have {found}"
    return values, ""


def keep_warm_start(queue: TrialQueue, found: WarmStart) -> None:
    """Keep what a study begins with in its storage, unless it is there already."""
    study = queue.load_study()
    if WARM_START not in study.user_attrs:
        study.set_user_attr(WARM_START, {"runs": [*found.runs], "queue": [*found.queue], TOLD: [*found.sampler_trials]})


def kept_warm_start(queue: TrialQueue) -> WarmStart:
    """What a study begins with; nothing, if it has no warm start."""
    kept = queue.load_study().user_attrs.get(WARM_START)
    return WarmStart() if kept is None else WarmStart(kept["runs"], kept["queue"], kept[TOLD])
