"""What a sampler sees: failures as the worst, running trials as running, and nothing that an earlier trial has."""

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import claim_next
from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.sweep.halving import DUPLICATE_OF
from dmx.sweep.pruning import make_pruner
from dmx.sweep.sampler_view import in_order, trials_for_sampler
from dmx.sweep.suggest import derived_seed, distribution, make_sampler, suggest
from dmx.sweep.trial_queue import TrialQueue, open_queue

Make = Callable[..., dict[str, Any]]
NUMBERS = {
    "training.clip_norm": {"low": 0.1, "high": 10, "log": True},
    "optimizer": ["adamw", "sgd"],
    "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2, "log": True},
}


def made(make: Make, folder: Path, **changes: Any) -> tuple[StudyConfig, Space, TrialQueue]:
    config = parse_study(make(**changes), "study")
    queue = open_queue(config, folder)
    queue.fill()
    return config, build_space(config, "metric"), queue


def score(values: Mapping[str, Any]) -> float:
    return abs(values.get("training.clip_norm", 1.0) - 2) + 3.0 * (values["optimizer"] == "sgd")


def ended(queue: TrialQueue, trial: Trial, outcome: str, state: TrialState, value: float | None = None) -> None:
    trial.set_user_attr("outcome", outcome)
    trial.study.tell(trial, value, state=state)


def test_the_order_of_what_ended(tmp_path: Path, tiny_study: Make) -> None:
    """Complete by value; pruned, later the better; over a limit, the nearest first; failed. A crash is left out."""
    config, space, queue = made(tiny_study, tmp_path, search=NUMBERS, trials=11)
    trials = [suggest(queue, config, space, claim_next(queue) or 0)[0] for _ in range(11)]
    ended(queue, trials[0], "diverged", TrialState.FAIL)
    ended(queue, trials[1], "complete", TrialState.COMPLETE, 2.0)
    trials[2].set_constraint("limits.parameters", 1.5)
    ended(queue, trials[2], "pruned", TrialState.PRUNED)
    for trial, epochs in ((trials[3], 1), (trials[4], 2)):
        for epoch in range(1, epochs + 1):
            trial.report(9.0, epoch)
        ended(queue, trial, "pruned", TrialState.PRUNED)
    trials[5].set_constraint("limits.parameters", 0.5)
    ended(queue, trials[5], "pruned", TrialState.PRUNED)
    trials[6].report(0.1, 1)
    ended(queue, trials[6], "timed-out", TrialState.FAIL)
    ended(queue, trials[7], "crashed", TrialState.FAIL)
    ended(queue, trials[8], "complete", TrialState.COMPLETE, 1.0)
    trials[9].set_user_attr(DUPLICATE_OF, 8)
    ended(queue, trials[9], "complete", TrialState.COMPLETE, 1.0)
    assert [trial.number for trial in in_order(queue.trials(), config)] == [8, 1, 4, 3, 5, 2, 0, 6, 9]
    seen = trials_for_sampler(queue.trials(), config)
    assert [trial.values for trial in seen[:9]] == [[float(place)] for place in range(9)]
    assert [(trial.number, trial.state) for trial in seen[9:]] == [(10, TrialState.RUNNING)]
    queue.release()  # its worker died; it will go on with the same values
    assert [(trial.number, trial.state) for trial in trials_for_sampler(queue.trials(), config)[9:]] == [
        (10, TrialState.RUNNING)
    ]
    stored = [trial.state for trial in queue.trials()]
    assert stored.count(TrialState.FAIL) == 3  # nothing of this is written


def test_a_process_sees_values_and_failures_as_the_worst_of_them(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(sampler={"name": "gp", "startup_trials": 2}, pruner="none", objectives=["val/mask/iou_pooled"])
    config, space, queue = made(lambda **given: {**data, **given}, tmp_path, search=NUMBERS, trials=4)
    trials = [suggest(queue, config, space, claim_next(queue) or 0)[0] for _ in range(3)]
    for trial, values in zip(trials, ([2.0, 0.7], [1.0, 0.5]), strict=False):
        trial.study.tell(trial, values)
    ended(queue, trials[2], "out-of-memory", TrialState.FAIL)
    seen = trials_for_sampler(queue.trials(), config)
    assert [(trial.number, trial.values) for trial in seen] == [(0, [2.0, 0.7]), (1, [1.0, 0.5]), (2, [2.0, 0.5])]


@pytest.mark.parametrize(("outcome", "teaches"), [("out-of-memory", True), ("crashed", False)])
def test_failures_reach_the_sampler_without_halving(
    tmp_path: Path, tiny_study: Make, outcome: str, teaches: bool
) -> None:
    config, space, queue = made(tiny_study, tmp_path, search={"optimizer": ["adamw", "sgd"]}, trials=30)
    failed = 0
    for number in range(30):
        assert claim_next(queue) == number
        trial, values = suggest(queue, config, space, number)
        if values["optimizer"] == "sgd":
            ended(queue, trial, outcome, TrialState.FAIL)
            failed += number >= 10
        else:
            trial.study.tell(trial, 1.0)
    assert failed <= 6 if teaches else failed >= 10


@pytest.mark.parametrize("pruner", ["none", {"name": "halving", "min_epochs": 1, "factor": 2}], ids=["none", "halving"])
def test_no_trial_repeats_another_while_the_space_has_more(tmp_path: Path, tiny_study: Make, pruner: Any) -> None:
    """Twelve combinations, of which TPE likes one best: each comes once, and only then one comes again."""
    search = {"optimizer": ["adamw", "sgd"], "stages.0.batch_size": [4, 6, 8], "loss.depth": ["l1", "berhu"]}
    search |= {"optimizer.adamw.lr": [1e-3], "optimizer.sgd.lr": [1e-2], "loss.depth.berhu.threshold": [0.2]}
    search |= {f"optimizer.adamw.{name}": [value] for name, value in (("weight_decay", 0.01),)}
    search |= {f"optimizer.sgd.{name}": [value] for name, value in (("weight_decay", 1e-4), ("momentum", 0.9))}
    drawn = []
    for name in ("whole", "parts"):
        experiment = tiny_study()["experiment"] | {"stages": [{"epochs": 4, "size": 32, "batch_size": 8}]}
        data = {"search": search, "trials": 13, "pruner": pruner, "experiment": experiment}
        config, space, queue = made(tiny_study, tmp_path / name, **data)
        for number in range(13):
            queue = open_queue(config, tmp_path / name) if name == "parts" else queue
            assert claim_next(queue) == number
            trial, values = suggest(queue, config, space, number)
            trial.study.tell(trial, values["stages.0.batch_size"] + 3.0 * (values["optimizer"] == "sgd"))
        drawn.append([trial.params for trial in queue.trials()])
    assert drawn[0] == drawn[1]
    names = ("optimizer", "stages.0.batch_size", "loss.depth")
    seen = [tuple(params[name] for name in names) for params in drawn[0]]
    assert {*seen[:12]} == {*product(*(search[name] for name in names))}
    assert seen[12] in seen[:12]


def test_a_proposal_of_a_model_cut_in_the_middle_ends_as_if_it_had_not_been(tmp_path: Path, tiny_study: Make) -> None:
    values: list[dict[str, Any]] = []
    for name in ("whole", "cut"):
        config, space, queue = made(tiny_study, tmp_path / name, search=NUMBERS, trials=8)
        for number in range(8):
            assert claim_next(queue) == number
            trial, drawn = suggest(queue, config, space, number)
            if number < 7:
                trial.study.tell(trial, score(drawn))
        values.append(drawn)
        path = tmp_path / name / "optuna.journal"
    assert values[0] == values[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    again = open_queue(config, path.parent)
    assert len(again.trials()[7].params) == len(values[0]) - 2
    again.release_all()
    assert claim_next(again) == 7
    assert suggest(again, config, space, 7)[1] == values[0]


def optunas(study: Any, number: int, trial_id: int, config: StudyConfig, space: Space) -> dict[str, Any]:
    """What Optuna's own `Trial` suggests from the values, states and reports of a plain study."""
    study.sampler = make_sampler(config.sampler, 0)
    trial, values = Trial(study, trial_id), {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            path, wanted = dimension.path, distribution(dimension)
            study.sampler = make_sampler(config.sampler, derived_seed(config.seed, number, path))
            if isinstance(wanted, CategoricalDistribution):
                values[path] = trial.suggest_categorical(path, wanted.choices)
            elif isinstance(wanted, FloatDistribution):
                values[path] = trial.suggest_float(path, wanted.low, wanted.high, log=wanted.log, step=wanted.step)
            else:
                assert isinstance(wanted, IntDistribution)
                values[path] = trial.suggest_int(path, wanted.low, wanted.high, log=wanted.log, step=wanted.step)
    return values


def test_where_nothing_fails_or_repeats_proposals_are_optunas_own(tmp_path: Path, tiny_study: Make) -> None:
    """Places instead of values, and pruned trials among them, change no proposal of TPE."""
    drawn: list[list[dict[str, Any]]] = []
    for name in ("ours", "optuna"):
        config, space, queue = made(tiny_study, tmp_path / name, search=NUMBERS, trials=24)
        drawn.append([])
        for number in range(24):
            assert claim_next(queue) == number
            if name == "ours":
                trial, values = suggest(queue, config, space, number)
            else:
                study = queue.load_study(pruner=make_pruner(config.pruner, 2))
                values = optunas(study, number, queue.trial_id(number), config, space)
                trial = Trial(queue.load_study(), queue.trial_id(number))
            trial.report(score(values), 1)
            if number % 3 == 2:
                trial.study.tell(trial, state=TrialState.PRUNED)
            else:
                trial.study.tell(trial, score(values))
            drawn[-1].append(values)
    assert drawn[0] == drawn[1]
