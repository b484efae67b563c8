"""Who has a trial: of two processes one, and nobody frees what is another's."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sweeping import execute, mlflow_runs

from dmx.cli.watch import Watch
from dmx.config import parse_study
from dmx.errors import ConfigError, UserError
from dmx.sweep.agreement import check_storage, note_storage
from dmx.sweep.claims import Claims
from dmx.sweep.engine import Ready, ready
from dmx.sweep.standing import standing_of
from dmx.sweep.storage import open_claims
from dmx.sweep.worker import Worker
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


@pytest.fixture
def two(tmp_path: Path, tiny_study: Make) -> tuple[Claims, Claims]:
    """Two who take trials from one journal."""
    config = parse_study(tiny_study(trials=3), "study")
    one, other = open_claims(config, tmp_path), open_claims(config, tmp_path)
    one.fill()
    return one, other


def states(claims: Claims) -> list[str]:
    return [trial.state.name for trial in claims.trials()]


def test_who_had_a_trial_before_does_not_get_it_while_another_has_it(two: tuple[Claims, Claims]) -> None:
    one, other = two
    assert one.claim(0)
    one.release()
    assert other.claim(0)
    assert not one.claim(0)
    assert (one.mine(0), other.mine(0)) == (False, True)


def test_only_the_owner_and_who_speaks_for_it_frees_a_trial(two: tuple[Claims, Claims]) -> None:
    one, other = two
    assert one.claim(0)
    assert other.claim(1)
    one.release()
    one.release("nobody")
    assert states(one) == ["WAITING", "RUNNING", "WAITING"]
    one.release(other.owner)
    assert states(one) == ["WAITING"] * 3


def grab(data: dict[str, Any], folder: Path, found: Any) -> None:
    claims = open_claims(parse_study(data, "study"), folder)
    found.put([number for number in range(60) if claims.claim(number)])


def test_each_trial_is_granted_to_one_of_many_processes(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(trials=60)
    claims = open_claims(parse_study(data, "study"), tmp_path)
    claims.fill()
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=grab, args=(data, tmp_path, found)) for _ in range(3)]
    for worker in workers:
        worker.start()
    granted = [found.get(timeout=240) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(number for some in granted for number in some) == list(range(60))


def test_fewer_trials_than_before_leave_none_running(two: tuple[Claims, Claims], tmp_path: Path) -> None:
    one, _ = two
    assert one.claim(2)
    fewer = Claims(one.storage, one.study, 1)
    fewer.release_all()
    assert states(one) == ["WAITING"] * 3


def work_and_die(data: dict[str, Any], home: Path) -> None:
    config = parse_study(data, "study")
    with ready(config, Home(home)) as study, Watch(config.experiment.objective) as watch:
        assert isinstance(study, Ready)
        assert len([*Worker(config, study.home, study.claims, study.space, watch).work()]) == 1
        os._exit(0)


def test_a_sweep_that_was_killed_before_it_closed_is_closed_by_the_next(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(trials=1)
    process = multiprocessing.get_context("spawn").Process(target=work_and_die, args=(data, tmp_path))
    process.start()
    process.join()
    assert mlflow_runs(tmp_path)["tiny-study"].info.status == "RUNNING"
    assert execute(data, tmp_path).ran == 0
    assert {run.info.status for run in mlflow_runs(tmp_path).values()} == {"FINISHED"}
    assert execute(data, tmp_path).complete == 1


def test_trials_elsewhere_are_not_mixed_with_runs_here(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(trials=1)
    execute(data, tmp_path)
    folder = tmp_path / "studies/tiny"
    with pytest.raises(UserError, match=r"are in its folder, not postgresql://db/dmx; go on with `without --storage`"):
        check_storage(folder, "postgresql://db/dmx")
    note_storage(folder, "postgresql://user:secret@db/dmx")
    with pytest.raises(UserError, match=r"are postgresql://user:\*\*\*@db/dmx, not in its folder; go on with `--sto"):
        execute(data, tmp_path)
    note_storage(folder, None)
    (folder / "optuna.journal").unlink()
    with pytest.raises(UserError, match=r"tiny-0000 is there, but is no run of this study"):
        execute(data, tmp_path)


def test_what_goes_beyond_a_study_is_refused(tiny_study: Make) -> None:
    with pytest.raises(ConfigError, match="queue does not go with sampler 'grid'"):
        parse_study(tiny_study(sampler="grid", queue=[{"optimizer": "sgd"}]), "study")
    for pruner in ("halving", "hyperband"):
        with pytest.raises(ConfigError, match="min_epochs is 2, but a trial has 2 epochs, so nothing would be pruned"):
            parse_study(tiny_study(pruner={"name": pruner, "min_epochs": 2}), "study")


def test_a_front_over_a_first_trial_that_has_nothing(tmp_path: Path, tiny_study: Make) -> None:
    """IoU 0 first: the hypervolume is in units of the other objective alone. (2 - 1) / 2 * (0.5 - 0) = 0.25."""
    config = parse_study(tiny_study(objectives="val/mask/iou_pooled", pruner="none", trials=2), "study")
    claims = open_claims(config, tmp_path)
    claims.fill()
    for number, values in enumerate(([2.0, 0.0], [1.0, 0.5])):
        assert claims.claim(number)
        claims.storage.set_trial_state_values(claims.id_of(number), TrialState.COMPLETE, values)
    assert standing_of(claims)["trials/hypervolume"] == pytest.approx(0.25)
