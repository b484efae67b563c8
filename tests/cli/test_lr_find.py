from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Run = Callable[..., Any]


def test_lr_find_ends_in_a_suggestion_a_plot_and_a_run(dmx: Run, tiny: Callable[..., Any], tmp_path: Path) -> None:
    import cv2
    from mlflow.tracking import MlflowClient

    path, home = tmp_path / "e.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(tiny()))
    said = dmx("lr-find", path, "--home", home, "--from", "1e-5", "--steps", 40)
    assert said.code == 0, said
    plot = home / "lr-find" / "tiny.png"
    (line,) = said.out.splitlines()
    assert line.startswith("tiny: try optimizer.lr=")
    assert line.endswith(f"Plot: {plot}")
    assert cv2.imread(str(plot)).shape == (500, 800, 3)
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["dmx.role"] == "lr-find"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config.yaml", "tiny.png"}
    rates = [point.value for point in client.get_metric_history(run.info.run_id, "lr_find/rate")]
    assert rates == sorted(rates)
    assert f"optimizer.lr={run.data.metrics['lr_find/steepest']:.2g}, where the loss falls fastest" in line


def test_a_range_that_does_not_rise_is_refused(dmx: Run, tiny: Callable[..., Any], tmp_path: Path) -> None:
    path, home = tmp_path / "e.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(tiny()))
    said = dmx("lr-find", path, "--home", home, "--from", 1, "--to", 0.1)
    assert said.code == 2
    assert "--from must be below --to, but got --from 1 --to 0.1; swap them." in said.err
    assert not home.exists()
