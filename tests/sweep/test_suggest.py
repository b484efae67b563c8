"""Proposals depend on the seed and the trials before, not on restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.config.space import build_space
from dmx.sweep.engine import wait
from dmx.sweep.storage import cut_torn_line, open_study
from dmx.sweep.suggest import ask

Make = Callable[..., dict[str, Any]]
SEARCH = {
    "loss.depth": ["silog", "l1", "berhu"],
    "optimizer": ["adamw", "sgd"],
    "training.clip_norm": {"low": 0.1, "high": 10, "log": True},
    "stages.0.batch_size": {"low": 4, "high": 12, "step": 4},
}


def score(values: dict[str, Any]) -> float:
    return values["training.clip_norm"] + 3.0 * (values["optimizer"] == "sgd")


def propose(folder: Path, data: dict[str, Any], trials: int, restart: bool) -> list[dict[str, Any]]:
    config = parse_study(data, "study")
    space = build_space(config, "metric")
    study = open_study(config, folder)
    for number in range(trials):
        if restart:
            study = open_study(config, folder)
        trial, values = ask(study, config, space)
        assert trial.number == number
        study.tell(trial, score(values))
    return [trial.params for trial in study.get_trials()]


def test_restarts_change_no_proposal(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(search=SEARCH, startup_trials=3)
    whole = propose(tmp_path / "whole", data, 12, restart=False)
    assert propose(tmp_path / "parts", data, 12, restart=True) == whole
    assert propose(tmp_path / "other", {**data, "seed": 1}, 12, restart=False) != whole
    assert len({str(params) for params in whole}) > 6


def test_an_unfinished_trial_comes_again_with_the_values_that_it_has(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH), "study")
    space = build_space(config, "metric")
    study = open_study(config, tmp_path)
    first, values = ask(study, config, space)
    first.report(0.5, 1)
    wait(study, first.number)
    again, same = ask(open_study(config, tmp_path), config, space)
    assert (again.number, same) == (first.number, values)
    assert len(open_study(config, tmp_path).get_trials()) == 1
    assert open_study(config, tmp_path).get_trials()[0].intermediate_values == {1: 0.5}


def test_a_proposal_cut_in_the_middle_ends_as_if_it_had_not_been(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, startup_trials=30), "study")
    space = build_space(config, "metric")
    whole = open_study(config, tmp_path / "whole")
    _, expected = ask(whole, config, space)
    cut = open_study(config, tmp_path / "cut")
    _, values = ask(cut, config, space)
    path = tmp_path / "cut" / "optuna.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))  # the last two values never reached the disk
    again = open_study(config, tmp_path / "cut")
    assert len(again.get_trials()[0].params) == len(expected) - 2
    wait(again, 0)
    assert ask(again, config, space)[1] == expected == values


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH), "study")
    study = open_study(config, tmp_path)
    ask(study, config, build_space(config, "metric"))
    path = tmp_path / "optuna.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":5,"worker')
    cut_torn_line(path)
    assert path.read_bytes() == whole
    again = open_study(config, tmp_path)
    assert [trial.state for trial in again.get_trials()] == [TrialState.RUNNING]
    again.add_trial(optuna.trial.create_trial(value=1.0))
    assert len(open_study(config, tmp_path).get_trials()) == 2
