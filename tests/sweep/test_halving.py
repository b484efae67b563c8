"""Whose turn it is in a halved study, on values made by hand in a real storage."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import execute, mlflow_runs, optuna_trials
from optuna import Trial
from optuna.trial import TrialState

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.errors import ConfigError
from dmx.results.ranking import results
from dmx.sweep.halving import ClaimableTrial, claimable_trials, last_passed, paused_at, rungs, store_decision
from dmx.sweep.pruning import explain_trial, report_epoch
from dmx.sweep.sampler_view import in_order, trials_for_sampler
from dmx.sweep.suggest import first_trials, suggest
from dmx.sweep.trial_queue import TrialQueue, open_queue
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow
METRIC = "val/depth/rmse_pooled"


def made(make: Make, folder: Path, **changes: Any) -> tuple[StudyConfig, Space, TrialQueue]:
    data = make(**{"pruner": {"name": "halving", "min_epochs": 1, "factor": 2}, "trials": 6, **changes})
    data["experiment"]["stages"] = [{"epochs": 4, "size": 32, "batch_size": 8}]
    config = parse_study(data, "study")
    space = build_space(config, "metric")
    queue = open_queue(config, folder)
    queue.fill()
    return config, space, queue


class Played:
    """A study whose trials' values are given, and what was done in it, as (trial, epoch) trained."""

    def __init__(self, config: StudyConfig, space: Space, queue: TrialQueue, curves: Sequence[Sequence[float]]) -> None:
        self.config, self.space, self.queue, self.curves = config, space, queue, curves
        self.first = first_trials(config, space)
        self.trained: list[tuple[int, int]] = []
        self.drawn: dict[int, dict[str, Any]] = {}

    def claim(self) -> ClaimableTrial | None:
        claimable = claimable_trials(self.queue.trials(), self.config)
        return next((one for one in claimable if self.queue.claim(one.number)), None)

    def play(self, claimed: ClaimableTrial) -> None:
        trial, self.drawn[claimed.number] = suggest(self.queue, self.config, self.space, claimed.number, self.first)
        if claimed.decision is not None:
            assert store_decision(trial, claimed.decision)
        if claimed.is_final:
            trial.study.tell(trial, state=TrialState.PRUNED)
        elif self.train(trial, last_passed(trial.user_attrs)):
            self.queue.release()
        else:
            trial.study.tell(trial, self.curves[claimed.number][-1])

    def train(self, trial: Trial, begin: int) -> bool:
        """Epoch after epoch; whether it is paused."""
        curve = self.curves[trial.number]
        for epoch in range(begin + 1, len(curve) + 1):
            self.trained.append((trial.number, epoch))
            reason = report_epoch(trial, self.queue, self.config, {}, epoch, {METRIC: curve[epoch - 1]})
            if reason and epoch < len(curve):
                return True
        return False

    def to_the_end(self) -> "Played":
        while (claimed := self.claim()) is not None:
            self.play(claimed)
        return self


def flat(*values: float) -> list[list[float]]:
    return [[value] * 4 for value in values]


def test_trials_among_the_best_go_on_and_the_others_when_they_are(tmp_path: Path, tiny_study: Make) -> None:
    """Rungs after epochs 1 and 2; one of every two goes on.

    Trial 0 is never paused. After epoch 1, trial 1 (5) is second of two and 2 (3) second of three, where one goes on:
    paused. 3 (2) is second of four, where two do; after epoch 2 it is second of two: paused. 4 (1) is second of five
    and goes on to epoch 2, second of three there: paused. 5 (9) is last. Now that all have begun, ⌈3 / 2⌉ = 2 of those
    after epoch 2 go on, 0 and 4; of the six after epoch 1 three, 0, 4 and 3, have gone.
    """
    config, space, queue = made(tiny_study, tmp_path)
    played = Played(config, space, queue, flat(0.5, 5, 3, 2, 1, 9)).to_the_end()
    assert rungs(config) == [1, 2]
    own = [(0, epoch) for epoch in (1, 2, 3, 4)]
    assert played.trained == [*own, (1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (4, 3), (4, 4)]
    states = [trial.state for trial in queue.trials()]
    assert [state.name for state in states] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED", "COMPLETE", "PRUNED"]


def test_a_paused_trial_goes_on_from_where_it_is(tmp_path: Path, tiny_study: Make) -> None:
    config, space, queue = made(tiny_study, tmp_path, trials=4)
    played = Played(config, space, queue, flat(1, 5, 8, 9)).to_the_end()
    # trial 1: second of two, paused; second of three where 1 goes on; second of four where 2 go on
    assert played.trained[4:] == [(1, 1), (2, 1), (3, 1), (1, 2)]
    text = "\n".join(explain_trial(queue.trials(), 1, config))
    assert "  paused after epoch 1 (5): rank 2 of 2; the best goes on" in text
    assert "  went on after epoch 1 (5): rank 2 of 4; the best 2 go on" in text
    assert "  paused after epoch 2 (5): rank 2 of 2" in text
    assert text.endswith("  ended after epoch 2 (5): rank 2 of 2; the best goes on")
    assert "the study's own experiment always does" in "\n".join(explain_trial(queue.trials(), 0, config))


def test_an_interrupted_trial_comes_first_and_what_was_decided_stays(tmp_path: Path, tiny_study: Make) -> None:
    config, space, queue = made(tiny_study, tmp_path)
    played = Played(config, space, queue, flat(1, 5, 3, 2, 4, 9))
    for _ in range(2):
        claimed = played.claim()
        assert claimed is not None
        played.play(claimed)
    assert paused_at(queue.trials()[1].user_attrs) == 1
    queue.claim(2)
    suggest(queue, config, space, 2)
    queue.release()  # its process died
    queue.claim(3)
    suggest(queue, config, space, 3)
    queue.release()
    assert [one.number for one in claimable_trials(queue.trials(), config)] == [2, 3, 4, 5]
    queue.claim(1)  # its process dies again after the decision: judged once more it is the same
    trial, _ = suggest(queue, config, space, 1)
    before = queue.trials()[1].user_attrs
    reason = report_epoch(trial, queue, config, {}, 1, {METRIC: 0.001})
    assert reason.startswith("paused after epoch 1 (5): rank 2 of 2")
    assert queue.trials()[1].user_attrs["decision 1"] == before["decision 1"]


def test_a_decision_that_another_worker_has_carried_out_is_not_taken_again(tmp_path: Path, tiny_study: Make) -> None:
    config, space, queue = made(tiny_study, tmp_path, trials=4)
    played = Played(config, space, queue, flat(1, 5, 8, 9))
    while (claimed := played.claim()) is not None and not (claimed.number == 1 and claimed.decision):
        played.play(claimed)
    assert claimed is not None
    assert claimed.decision is not None
    trial, _ = suggest(queue, config, space, 1)
    assert store_decision(trial, claimed.decision)
    assert not store_decision(trial, claimed.decision)
    assert last_passed(trial.user_attrs) == 1


def test_no_trial_ends_while_others_run(tmp_path: Path, tiny_study: Make) -> None:
    config, space, queue = made(tiny_study, tmp_path, trials=3)
    played = Played(config, space, queue, flat(1, 5, 8))
    for _ in range(2):
        claimed = played.claim()
        assert claimed is not None
        played.play(claimed)
    assert queue.claim(2)
    assert [*claimable_trials(queue.trials(), config)] == []
    queue.release()
    assert [one.number for one in claimable_trials(queue.trials(), config)] == [2]


def test_the_sampler_sees_trials_that_came_further_as_better(tmp_path: Path, tiny_study: Make) -> None:
    """Trial 0 (8) is complete though nearly all are better; by value alone the order would be 4, 1, 2, 3, 0, 5.

    1 (2) is first everywhere, and complete. 2 (5) is paused after epoch 1, as second of three where one goes on, and
    goes on when 3 (6) is third of four where two do; after epoch 2 it is second of three, paused, and stays so: of the
    four there two go on. 4 (1) is first everywhere. 5 (9) is last after epoch 1, where of six three go on.
    """
    config, space, queue = made(tiny_study, tmp_path)
    Played(config, space, queue, flat(8, 2, 5, 6, 1, 9)).to_the_end()
    seen = trials_for_sampler(queue.trials(), config)
    assert {trial.state for trial in seen} == {TrialState.COMPLETE}
    assert [trial.values for trial in seen] == [[float(place)] for place in range(6)]
    assert [max(trial.intermediate_values) for trial in seen] == [4, 4, 4, 2, 1, 1]
    assert [trial.number for trial in seen] == [4, 1, 0, 2, 3, 5]


@pytest.mark.parametrize(("outcome", "teaches"), [("diverged", True), ("crashed", False)])
def test_divergence_reaches_the_sampler(tmp_path: Path, tiny_study: Make, outcome: str, teaches: bool) -> None:
    """Trials that diverged are the last of those that teach; a crash teaches nothing: it may be the machine."""

    class Failing(Played):
        def train(self, trial: Trial, begin: int) -> bool:
            if self.drawn[trial.number]["optimizer"] == "adamw":
                return super().train(trial, begin)
            trial.set_user_attr("outcome", outcome)  # as a worker tells it
            trial.study.tell(trial, state=TrialState.FAIL)
            return True

    search = {"optimizer": ["adamw", "sgd"]}
    config, space, queue = made(tiny_study, tmp_path, search=search, trials=30, seed=1)
    drawn = Failing(config, space, queue, flat(*([1.0] * 30))).to_the_end().drawn
    failed = [number for number in range(30) if drawn[number]["optimizer"] == "sgd"]
    seen = [trial.number for trial in in_order(queue.trials(), config)]
    assert seen[-len(failed) :] == failed if teaches else {*seen}.isdisjoint(failed)
    late = sum(number >= 10 for number in failed)  # of 20, when enough has been seen
    assert late <= 6 if teaches else late >= 14


def test_proposals_of_a_halved_study_do_not_depend_on_restarts(tmp_path: Path, tiny_study: Make) -> None:
    search = {"training.clip_norm": {"low": 0.1, "high": 10, "log": True}, "optimizer": ["adamw", "sgd"]}
    curves = flat(*(1 + (7 * k) % 5 for k in range(16)))
    drawn = []
    for name, restarts in (("whole", False), ("parts", True)):
        config, space, queue = made(tiny_study, tmp_path / name, search=search, trials=16)
        played = Played(config, space, queue, curves)
        while (claimed := played.claim()) is not None:
            played.play(claimed)
            if restarts:
                played.queue = open_queue(config, tmp_path / name)
        drawn.append((played.drawn, played.trained))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, []), (3, []), (4, [3]), (9, [3]), (12, [3, 9]), (30, [4, 12]), (90, [10, 30])]
)
def test_a_study_that_names_no_pruner_halves_from_the_third_epoch_or_a_ninth_of_them(
    tiny_study: Make, epochs: int, expected: list[int]
) -> None:
    data = tiny_study()
    del data["pruner"]
    data["experiment"]["stages"] = [{"epochs": epochs, "size": 32, "batch_size": 8}]
    config = parse_study(data, "study")
    assert config.pruner.name == "halving"
    assert rungs(config) == expected
    assert rungs(parse_study({**data, "objectives": "parameters"}, "study")) == expected
    assert rungs(parse_study(config.dump(), "study")) == expected


def test_samplers_that_learn_from_ended_trials_alone_do_not_prune_unless_told_to(tiny_study: Make) -> None:
    data = tiny_study(sampler="nsga2")
    del data["pruner"]
    assert parse_study(data, "study").pruner.name == "none"
    assert parse_study({**data, "sampler": {"name": "nsga3"}}, "study").pruner.name == "none"
    assert parse_study({**data, "pruner": "median"}, "study").pruner.name == "median"


def test_rungs_at_the_ends_of_stages(tiny_study: Make) -> None:
    data = tiny_study(pruner={"name": "halving", "rungs": "stages"})
    data["experiment"]["stages"] = [
        {"epochs": n, "size": size, "batch_size": 8} for n, size in ((2, 16), (3, 24), (4, 32))
    ]
    assert rungs(parse_study(data, "study")) == [2, 5]


def test_genetic_search_is_not_halved(tiny_study: Make) -> None:
    with pytest.raises(ConfigError, match="'nsga2' learns from trials that have ended, but pruner 'halving' pauses"):
        parse_study(tiny_study(sampler="nsga2", pruner="halving"), "study")


def test_a_real_study_trains_no_epoch_twice(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(
        pruner={"name": "halving", "min_epochs": 1, "factor": 2},
        trials=6,
        search={"optimizer.adamw.lr": {"low": 1e-6, "high": 1e-2, "log": True}},
    )
    data["experiment"]["stages"] = [{"epochs": 4, "size": 32, "batch_size": 8}]
    execute(data, tmp_path)
    config = parse_study(data, "study")
    trials, runs = optuna_trials(config, tmp_path), mlflow_runs(tmp_path)
    entries = {entry.run: entry for entry in results(Home(tmp_path), "tiny")}
    assert all(trial.state.is_finished() for trial in trials)
    assert trials[0].state is TrialState.COMPLETE
    for trial in trials:
        run, result = runs[f"tiny-{trial.number:04d}"], entries[f"tiny-{trial.number:04d}"].result
        assert run.info.status == "FINISHED"
        assert run.data.tags["dmx.outcome"] == trial.user_attrs["outcome"] == str(result.outcome)
        assert result.epochs == max(trial.intermediate_values)
        assert result.steps == run.data.metrics["epoch"] * (result.steps / result.epochs)
        if trial.state is TrialState.PRUNED:
            assert run.data.tags["dmx.reason"] == trial.user_attrs["reason"]
            assert trial.user_attrs["reason"].startswith(f"paused after epoch {result.epochs} ")
