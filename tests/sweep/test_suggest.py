"""Proposals depend on the seed and the trials before, not on restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers.sweeping import claim_next
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.config.space import build_space
from dmx.errors import ConfigError
from dmx.sweep.storage import cut_torn_line
from dmx.sweep.suggest import baseline_params_outside_space, first_trials, suggest
from dmx.sweep.trial_queue import open_queue

Make = Callable[..., dict[str, Any]]
SEARCH = {
    "loss.depth": ["silog", "l1", "berhu"],
    "optimizer": ["adamw", "sgd"],
    "training.clip_norm": {"low": 0.1, "high": 10, "log": True},
    "stages.0.batch_size": {"low": 4, "high": 12, "step": 4},
}


def score(values: dict[str, Any]) -> float:
    return values["training.clip_norm"] + 3.0 * (values["optimizer"] == "sgd")


def proposals(folder: Path, data: dict[str, Any], trials: int, restart: bool) -> list[dict[str, Any]]:
    config = parse_study({**data, "trials": trials}, "study")
    space = build_space(config, "metric")
    queue = open_queue(config, folder)
    queue.fill()
    for expected in range(trials):
        if restart:
            queue = open_queue(config, folder)
        number = claim_next(queue)
        assert number == expected
        trial, values = suggest(queue, config, space, number)
        trial.study.tell(trial, score(values))
    assert claim_next(queue) is None
    return [trial.params for trial in queue.trials()]


def test_restarts_change_no_proposal(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(search=SEARCH, sampler={"name": "tpe", "startup_trials": 3})
    whole = proposals(tmp_path / "whole", data, 12, restart=False)
    assert proposals(tmp_path / "parts", data, 12, restart=True) == whole
    assert proposals(tmp_path / "other", {**data, "seed": 1}, 12, restart=False) != whole
    assert len({str(params) for params in whole}) > 6


def test_an_unfinished_trial_comes_again_with_the_values_that_it_has(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH), "study")
    space = build_space(config, "metric")
    queue = open_queue(config, tmp_path)
    queue.fill()
    assert claim_next(queue) == 0
    first, values = suggest(queue, config, space, 0)
    first.report(0.5, 1)
    queue.release()
    again = open_queue(config, tmp_path)
    assert claim_next(again) == 0
    assert suggest(again, config, space, 0)[1] == values
    assert again.trials()[0].intermediate_values == {1: 0.5}


def test_a_proposal_cut_in_the_middle_ends_as_if_it_had_not_been(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, sampler={"name": "tpe", "startup_trials": 30}), "study")
    space = build_space(config, "metric")
    for name in ("whole", "cut"):
        queue = open_queue(config, tmp_path / name)
        queue.fill()
        claim_next(queue)
        _, expected = suggest(queue, config, space, 0)
    path = tmp_path / "cut" / "optuna.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))  # the last two values never reached the disk
    again = open_queue(config, tmp_path / "cut")
    assert len(again.trials()[0].params) == len(expected) - 2
    again.release_all()
    assert claim_next(again) == 0
    assert suggest(again, config, space, 0)[1] == expected


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, trials=1), "study")
    queue = open_queue(config, tmp_path)
    queue.fill()
    claim_next(queue)
    path = tmp_path / "optuna.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":5,"worker')
    cut_torn_line(path)
    assert path.read_bytes() == whole
    again = open_queue(config, tmp_path)
    assert [trial.state for trial in again.trials()] == [TrialState.RUNNING]
    again.load_study().add_trial(optuna.trial.create_trial(value=1.0))
    assert len(open_queue(config, tmp_path).load_study().get_trials()) == 2


def test_a_study_begins_with_its_own_experiment_and_then_its_queue(tmp_path: Path, tiny_study: Make) -> None:
    queue = [{"optimizer": "sgd", "training.clip_norm": 2.5}, {"loss.depth": "berhu"}]
    data = tiny_study(search=SEARCH, queue=queue, trials=3)
    data["experiment"]["training"] = {"clip_norm": 0.5}
    config = parse_study(data, "study")
    space = build_space(config, "metric")
    queue = open_queue(config, tmp_path)
    queue.fill()
    drawn = [suggest(queue, config, space, claim_next(queue) or 0, first_trials(config, space))[1] for _ in range(3)]
    assert drawn[0] == {
        "loss.depth": "silog",
        "optimizer": "adamw",
        "optimizer.adamw.lr": 1e-3,
        "optimizer.adamw.weight_decay": drawn[0]["optimizer.adamw.weight_decay"],
        "training.clip_norm": 0.5,
        "stages.0.batch_size": 8,
        **{key: value for key, value in drawn[0].items() if key.startswith("loss.depth.silog")},
    } | {key: value for key, value in drawn[0].items() if key.startswith("optimizer.adamw.beta")}
    assert (drawn[1]["optimizer"], drawn[1]["training.clip_norm"]) == ("sgd", 2.5)
    assert drawn[2]["loss.depth"] == "berhu"


def test_what_the_space_lacks_of_the_experiment_is_known(tiny_study: Make) -> None:
    """Trial 0 has another width then, and differs from the experiment; what does not apply is left aside."""
    search = {"model.depthmasknet.width": [16, 32], "loss.depth": ["l1", "silog"], "loss.depth.silog.lam": [0.5, 0.9]}
    data = tiny_study(search=search)
    data["experiment"]["loss"]["depth"] = "l1"
    space = build_space(parse_study(data, "study"), "metric")
    assert baseline_params_outside_space(space) == {"model.depthmasknet.width": data["experiment"]["model"]["width"]}


def test_a_queue_of_what_is_not_searched_is_refused(tmp_path: Path, tiny_study: Make) -> None:
    queue = [{"optimizer": "sgd", "seed": 3}, {"training.clip_norm": 50, "stages.0.batch_size": 6}]
    config = parse_study(tiny_study(search=SEARCH, queue=queue), "study")
    with pytest.raises(ConfigError) as caught:
        first_trials(config, build_space(config, "metric"))
    text = str(caught.value)
    assert "queue.0.seed: is not searched" in text
    assert "queue.1.training.clip_norm: 50 is not in the search space" in text
    assert "queue.1.stages.0.batch_size: 6 is not in the search space" in text
