"""Which worker has a trial: of two processes one, and none releases what is another's."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.claiming import claim_all, named
from helpers.sweeping import execute, mlflow_runs
from optuna.trial import TrialState

from dmx.cli.watch import Watch
from dmx.config import parse_study
from dmx.errors import ConfigError, UserError
from dmx.sweep.definition import check_storage, store_storage
from dmx.sweep.study import PreparedStudy, prepare_study, status_metrics
from dmx.sweep.trial_queue import TrialQueue, open_queue
from dmx.sweep.worker import Worker
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


@pytest.fixture
def two(tmp_path: Path, tiny_study: Make) -> tuple[TrialQueue, TrialQueue]:
    """Two workers on one journal."""
    config = parse_study(tiny_study(trials=3), "study")
    one, other = open_queue(config, tmp_path), open_queue(config, tmp_path)
    one.fill()
    return one, other


def states(queue: TrialQueue) -> list[str]:
    return [trial.state.name for trial in queue.trials()]


def test_a_worker_that_had_a_trial_does_not_get_it_while_another_has_it(two: tuple[TrialQueue, TrialQueue]) -> None:
    one, other = two
    assert one.claim(0)
    one.release()
    assert other.claim(0)
    assert not one.claim(0)
    assert (one.owns(0), other.owns(0)) == (False, True)


def test_only_the_trials_of_the_named_owner_are_released(two: tuple[TrialQueue, TrialQueue]) -> None:
    one, other = two
    assert one.claim(0)
    assert other.claim(1)
    one.release()
    one.release("nobody")
    assert states(one) == ["WAITING", "RUNNING", "WAITING"]
    one.release(other.owner)
    assert states(one) == ["WAITING"] * 3


def test_each_trial_is_granted_to_one_of_many_processes(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(trials=60), "study")
    open_queue(config, tmp_path).fill()
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=claim_all, args=(named(config), tmp_path, found)) for _ in range(3)]
    for worker in workers:
        worker.start()
    granted = [found.get(timeout=240) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(number for some in granted for number in some) == list(range(60))


def test_fewer_trials_than_before_leave_none_running(two: tuple[TrialQueue, TrialQueue], tmp_path: Path) -> None:
    one, _ = two
    assert one.claim(2)
    fewer = TrialQueue(one.storage, one.study_name, 1)
    fewer.release_all()
    assert states(one) == ["WAITING"] * 3


def work_and_die(data: dict[str, Any], home: Path) -> None:
    config = parse_study(data, "study")
    with prepare_study(config, Home(home)) as study, Watch(config.experiment.objective) as watch:
        assert isinstance(study, PreparedStudy)
        assert len([*Worker(config, study.home, study.queue, study.space, watch).run_trials()]) == 1
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
    store_storage(folder, "postgresql://user:secret@db/dmx")
    with pytest.raises(UserError, match=r"are postgresql://user:\*\*\*@db/dmx, not in its folder; go on with `--sto"):
        execute(data, tmp_path)
    store_storage(folder, None)
    (folder / "optuna.journal").unlink()
    with pytest.raises(UserError, match=r"tiny-0000 exists, but the study has no such trial"):
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
    queue = open_queue(config, tmp_path)
    queue.fill()
    for number, values in enumerate(([2.0, 0.0], [1.0, 0.5])):
        assert queue.claim(number)
        queue.storage.set_trial_state_values(queue.trial_id(number), TrialState.COMPLETE, values)
    assert status_metrics(queue)["trials/hypervolume"] == pytest.approx(0.25)
