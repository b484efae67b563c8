"""Proposals depend on the seed and the trials before, not on restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sweeping import claim_next

from dmx.config import parse_study
from dmx.config.space import build_space
from dmx.errors import ConfigError
from dmx.sweep.storage import cut_torn_line, open_claims
from dmx.sweep.suggest import first_trials, propose

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
    claims = open_claims(config, folder)
    claims.fill()
    for expected in range(trials):
        if restart:
            claims = open_claims(config, folder)
        number = claim_next(claims)
        assert number == expected
        trial, values = propose(claims, config, space, number)
        trial.study.tell(trial, score(values))
    assert claim_next(claims) is None
    return [trial.params for trial in claims.trials()]


def test_restarts_change_no_proposal(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(search=SEARCH, sampler={"name": "tpe", "startup_trials": 3})
    whole = proposals(tmp_path / "whole", data, 12, restart=False)
    assert proposals(tmp_path / "parts", data, 12, restart=True) == whole
    assert proposals(tmp_path / "other", {**data, "seed": 1}, 12, restart=False) != whole
    assert len({str(params) for params in whole}) > 6


def test_an_unfinished_trial_comes_again_with_the_values_that_it_has(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH), "study")
    space = build_space(config, "metric")
    claims = open_claims(config, tmp_path)
    claims.fill()
    assert claim_next(claims) == 0
    first, values = propose(claims, config, space, 0)
    first.report(0.5, 1)
    claims.release()
    again = open_claims(config, tmp_path)
    assert claim_next(again) == 0
    assert propose(again, config, space, 0)[1] == values
    assert again.trials()[0].intermediate_values == {1: 0.5}


def test_a_proposal_cut_in_the_middle_ends_as_if_it_had_not_been(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, sampler={"name": "tpe", "startup_trials": 30}), "study")
    space = build_space(config, "metric")
    for name in ("whole", "cut"):
        claims = open_claims(config, tmp_path / name)
        claims.fill()
        claim_next(claims)
        _, expected = propose(claims, config, space, 0)
    path = tmp_path / "cut" / "optuna.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))  # the last two values never reached the disk
    again = open_claims(config, tmp_path / "cut")
    assert len(again.trials()[0].params) == len(expected) - 2
    again.release_all()
    assert claim_next(again) == 0
    assert propose(again, config, space, 0)[1] == expected


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, trials=1), "study")
    claims = open_claims(config, tmp_path)
    claims.fill()
    claim_next(claims)
    path = tmp_path / "optuna.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":5,"worker')
    cut_torn_line(path)
    assert path.read_bytes() == whole
    again = open_claims(config, tmp_path)
    assert [trial.state for trial in again.trials()] == [TrialState.RUNNING]
    again.fresh().add_trial(optuna.trial.create_trial(value=1.0))
    assert len(open_claims(config, tmp_path).fresh().get_trials()) == 2


def test_a_study_begins_with_its_own_experiment_and_then_its_queue(tmp_path: Path, tiny_study: Make) -> None:
    queue = [{"optimizer": "sgd", "training.clip_norm": 2.5}, {"loss.depth": "berhu"}]
    data = tiny_study(search=SEARCH, queue=queue, trials=3)
    data["experiment"]["training"] = {"clip_norm": 0.5}
    config = parse_study(data, "study")
    space = build_space(config, "metric")
    claims = open_claims(config, tmp_path)
    claims.fill()
    drawn = [propose(claims, config, space, claim_next(claims) or 0, first_trials(config, space))[1] for _ in range(3)]
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


def test_a_queue_of_what_is_not_searched_is_refused(tmp_path: Path, tiny_study: Make) -> None:
    queue = [{"optimizer": "sgd", "seed": 3}, {"training.clip_norm": 50, "stages.0.batch_size": 6}]
    config = parse_study(tiny_study(search=SEARCH, queue=queue), "study")
    with pytest.raises(ConfigError) as caught:
        first_trials(config, build_space(config, "metric"))
    text = str(caught.value)
    assert "queue.0.seed: does not vary here" in text
    assert "queue.1.training.clip_norm: 50 is not tried there" in text
    assert "queue.1.stages.0.batch_size: 6 is not tried there" in text
