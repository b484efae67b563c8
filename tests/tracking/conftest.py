"""A run as a training would write it, and what the stores know of it afterwards."""

import shutil
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from dmx.tracking import Home, RunStart, RunTracker, open_run
from dmx.tracking.journal import MetricsLogged, read
from dmx.tracking.mlflow_client import connect, make_store


class Stored:
    """The stores of one home."""

    STEPS = 40
    PICTURED = (10, 20, 30)

    def __init__(self, home: Home, address: str | None = None) -> None:
        self.home = home
        self._address = address

    @property
    def client(self):
        from mlflow.tracking import MlflowClient

        return MlflowClient(self._address) if self._address else connect(self.home)

    def open(
        self, run_id: str, name: str = "first", params: Any = None, *, group: str = "study one", stores: bool = True
    ) -> RunTracker:
        params = params or {"model.name": "unet", "optimizer.lr": 0.1, "none": None}
        start = RunStart(
            group,
            name,
            {"dmx.study": "s"},
            params,
            {"config.yaml": "lr: 0.1\n"},
            searched={"optimizer.lr": 0.1, "model.name": "unet", "ema": True},
            inputs=[
                {"name": f"d {part}", "digest": part * 3, "root": str(self.home.root), "context": part, "samples": "7"}
                for part in ("training", "validation")
            ],
        )
        return open_run(self.home, run_id, start, stores=stores)

    def write(self, run: RunTracker, steps: range) -> None:
        """What a training would log: a function of the step alone."""
        for step in steps:
            run.curve(step, "val/mask", [6, 4, 0], [10, step, 0], (8, 50))
            run.log(step, {"train/loss": 1 / (step + 1), "val/silog[lambda=0.85]": float("nan") if step == 7 else step})
            if step in self.PICTURED:
                run.image(step, "val/panel", np.full((8, 12, 3), 200, np.uint8))

    def found(self, run_id: str) -> Any:
        """The one MLflow run of a run of ours."""
        groups = [group.experiment_id for group in self.client.search_experiments()]
        (run,) = self.client.search_runs(groups, f"tags.`dmx.run` = '{run_id}'")
        return run

    def points(self, run_id: str, key: str) -> list[Any]:
        return self.client.get_metric_history(self.found(run_id).info.run_id, key)

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in self.points(run_id, key))

    def board(self, run_id: str) -> EventAccumulator:
        events = EventAccumulator(str(self.home.tensorboard(run_id)), size_guidance={SCALARS: 0, IMAGES: 0})
        return events.Reload()

    def check_everything_stands_once(self, run_id: str) -> None:
        journal = [
            event for event, _ in read(self.home.run(run_id) / "journal.jsonl") if isinstance(event, MetricsLogged)
        ]
        losses = [(event.step, event.time) for event in journal if "train/loss" in event.values]
        assert [step for step, _ in losses] == list(range(self.STEPS))
        self.check_mlflow(run_id, dict(losses))
        self.check_tensorboard(run_id, dict(losses))

    def check_mlflow(self, run_id: str, times: dict[int, int]) -> None:
        assert self.history(run_id, "train/loss") == [(step, 1 / (step + 1)) for step in times]
        assert {point.step: point.timestamp for point in self.points(run_id, "train/loss")} == times
        silog = self.history(run_id, "val/silog lambda 0.85")
        assert [step for step, _ in silog] == list(times)
        assert [step for step, value in silog if np.isnan(value)] == [7]
        pictures = [file.path for file in self.client.list_artifacts(self.found(run_id).info.run_id, "images")]
        for ending in (".png", "+compressed.webp"):
            steps = [int(path.split("+")[2]) for path in pictures if path.endswith(ending)]
            assert sorted(steps) == list(self.PICTURED)

    def check_tensorboard(self, run_id: str, times: dict[int, int]) -> None:
        events = self.board(run_id)
        losses = [(point.step, point.value) for point in events.Scalars("train/loss")]
        assert losses == [(step, pytest.approx(1 / (step + 1), rel=1e-6)) for step in times]
        assert {point.step: round(point.wall_time * 1000) for point in events.Scalars("train/loss")} == times
        assert len(events.Scalars("val/silog[lambda=0.85]")) == self.STEPS
        assert [picture.step for picture in events.Images("val/panel")] == list(self.PICTURED)


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """One home for many runs: MLflow takes two seconds to make a store."""
    return Stored(Home(tmp_path_factory.mktemp("tracking") / "mlruns"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """MLflow's store without runs, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    make_store(path)
    return path


@pytest.fixture
def fresh(tmp_path, empty_store):
    home = Home(tmp_path / "fresh")
    home.root.mkdir()
    shutil.copyfile(empty_store, home.mlflow_db)
    return Stored(home)
