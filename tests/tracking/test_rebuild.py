"""Both stores can be made anew from the journals alone."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dmx.cli.sync import sync
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.tracking.syncing import rebuild

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

RUNS = ("whole", "stopped")


def told(stored: Any, run_id: str) -> dict[str, Any]:
    """What MLflow and TensorBoard say of a run."""
    run = stored.found(run_id)
    keys = ("train/loss", "val/silog lambda 0.85")
    return {
        "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
        "params": run.data.params,
        "tags": run.data.tags,
        "inputs": [(put.dataset.name, put.dataset.digest) for put in run.inputs.dataset_inputs],
        "points": {
            key: sorted((p.step, p.timestamp, repr(p.value)) for p in stored.points(run_id, key)) for key in keys
        },
        "files": sorted(
            file.path.split("+")[2] if folder == "images" else file.path  # the name of a picture ends at random
            for folder in ("", "images", "model")
            for file in stored.client.list_artifacts(run.info.run_id, folder)
        ),
        "scalars": [(p.step, p.wall_time, repr(p.value)) for p in stored.board(run_id).Scalars("train/loss")],
        "curves": len(stored.board(run_id).Tensors("val/mask")),
        "pictures": [picture.step for picture in stored.board(run_id).Images("val/panel")],
    }


def told_of_all(stored: Any) -> dict[str, Any]:
    for run_id in RUNS:
        stored.check_everything_stands_once(run_id)
    return {run_id: told(stored, run_id) for run_id in RUNS}


def rebuilt(stored: Any) -> str:
    return CliRunner().invoke(sync, ["--rebuild", "--home", str(stored.home.root)], catch_exceptions=False).output


def in_a_new_process(function: Callable[[Any], Any], stored: Any) -> Any:
    """MLflow keeps a file open that it once opened, whatever is put in its place: another process looks anew."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, stored).result()


def test_both_stores_are_made_anew_from_the_journals(fresh):
    for run_id, outcome in zip(RUNS, (Outcome.COMPLETE, Outcome.INTERRUPTED), strict=True):
        run = fresh.open(run_id)
        fresh.write(run, range(fresh.STEPS))
        (run.folder / "best.bin").write_bytes(b"weights")
        run.artifact(run.folder / "best.bin", "model")
        assert run.finish(outcome, "why") == 0
    before = in_a_new_process(told_of_all, fresh)
    for damaged in (fresh.home.mlflow_db, *fresh.home.tensorboard("whole").glob("events*")):
        damaged.write_bytes(np.random.default_rng(0).bytes(5000))
    shown = in_a_new_process(rebuilt, fresh)
    assert "2 runs are whole." in shown
    assert "The old store is in" in shown
    aside = fresh.home.root / "before-rebuild-1"
    assert (aside / fresh.home.mlflow_db.name).stat().st_size == 5000
    assert sorted(path.name for path in aside.glob("*/*/*/artifacts/*")) != []
    assert in_a_new_process(told_of_all, fresh) == before


def test_a_run_that_is_being_written_stops_a_rebuild_before_anything_is_moved(fresh):
    fresh.open("done").finish(Outcome.COMPLETE, "")
    run = fresh.open("writing")
    with pytest.raises(UserError, match="run 'writing' is being written by another process"):
        rebuild(fresh.home, lambda done, of: None)
    assert fresh.found("done").info.status == "FINISHED"
    run.finish(Outcome.COMPLETE, "")
