"""Several runs and mirrored pictures, evaluated as one network; and a run with a calibration."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from dmx.cli.evaluate import evaluate as command
from dmx.config import parse_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.evaluate import evaluate, predictions
from dmx.experiment.evaluation_store import read_on_test
from dmx.experiment.joined import Joined
from dmx.experiment.trained import calibration_path, trained
from dmx.metrics.uncertainty import remaining
from dmx.tracking import Home
from dmx.tracking.journal import MetricsLogged, read

SIZES = {"first": 32, "second": 32, "larger": 48}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    for seed, (name, size) in enumerate(SIZES.items()):
        data = {
            "name": name,
            "seed": seed,
            "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25, "seed": 0}},
            "model": {"name": "depthmasknet", "width": 4, "inputs": "image"},
            "loss": {"mask": "bce_dice", "depth": "l1"},
            "optimizer": {"name": "adamw", "lr": 1e-2},
            "stages": [{"epochs": 2, "size": size, "batch_size": 8}],
        }
        prepared = prepare(parse_experiment(data, name), home)
        run(prepared, home, name, Tracking("e", {"dmx.role": "run"}, stores=False))
    path = calibration_path(home, "first", "phone")
    path.parent.mkdir()
    path.write_text(json.dumps({"scale": 2.0, "power": 1.0}))
    return home


def said(home: Home, data: Path, *words: str) -> Result:
    return CliRunner().invoke(command, ["first", str(data), *words, "--home", str(home.root)])


def test_it_is_the_mean_of_the_runs_and_of_mirrored_pictures(home: Home, tiny_data: Path) -> None:
    """RMSE, mean probability and sparsification, computed here from what each network predicts."""
    networks = [trained(home, name) for name in ("first", "second")]
    found = evaluate(networks[0], tiny_data, "val", home, joined=Joined((networks[1],), flip=True))
    _, pictures = prepared_batches(home, tiny_data)
    squares, pixels, curves = 0.0, 0, []
    for batch in pictures:
        each = []
        with torch.no_grad():
            for network in networks:
                each.append(network.model(batch.image, None).depth)
                each.append(network.model(batch.image.flip(3), None).depth.flip(3))
        depths = torch.stack(each)
        error, spread = depths.mean(0) - batch.depth, depths.std(0, correction=0)
        squares += float(error[batch.valid].double().square().sum())
        pixels += int(batch.valid.sum())
        for e, s, known in zip(error.double(), spread, batch.valid, strict=True):
            curves.append(remaining(e[known], s[known]))
    assert found.values["depth/rmse_pooled"] == pytest.approx((squares / pixels) ** 0.5, rel=1e-5)
    assert found.uncertainty is not None
    assert found.uncertainty.values()["depth/aurg_per_image"] == pytest.approx(1 - np.mean(curves), abs=1e-4)
    assert found.joined == " with second and mirrored pictures"


def prepared_batches(home: Home, data: Path):
    """The validation batches of the first run."""
    from dmx.experiment.evaluate import select

    network = trained(home, "first")
    chosen = select(data, "val", home, "first", network.config.data.split)
    return chosen, [batch for batch, _ in predictions(network, chosen.index, chosen.ids, lambda done, total: None)]


def test_it_is_kept_beside_that_of_the_run_alone(home: Home, tiny_data: Path) -> None:
    alone = said(home, tiny_data)
    joined = said(home, tiny_data, "--with", "second", "--tta", "flip")
    assert (alone.exit_code, joined.exit_code) == (0, 0), joined.output
    assert "first with second and mirrored pictures on" in joined.output
    assert "depth/ause_per_image" in joined.output
    assert "depth/ause_per_image" not in alone.output
    sentences = [line for line in joined.output.splitlines() if line.startswith(("Depth: ", "Mask: "))]
    assert ["orders errors" in one for one in sentences] == [True, True, False, False]
    assert "the standard deviations are too small, by a factor of " in sentences[2]
    assert "Depth: " not in alone.output
    folders = sorted(path.name for path in (home.run("first") / "evaluations").iterdir())
    assert [name[:11] for name in folders] == ["val", "val-with-1-"]
    kept = json.loads((home.run("first") / "evaluations" / folders[1] / "evaluation.json").read_text())
    assert kept["uncertainty"]["depth/ause_per_image"] >= 0
    assert len(kept["uncertainty"]["rmse_of_the_rest"]["depth"]["by_spread"]) == 20
    assert "Whether the uncertainty can be believed" in (
        page := (home.run("first") / "evaluations" / folders[1] / "evaluation.html").read_text()
    )
    assert all(f"<p>{one}</p>" in page for one in sentences)
    logged = {k for e, _ in read(home.run("first") / "journal.jsonl") if isinstance(e, MetricsLogged) for k in e.values}
    assert {"val_best/depth/rmse_pooled", f"eval/{folders[1]}/depth/ause_per_image"} <= logged
    assert not {name for name in logged if name.startswith("val_best") and "ause" in name}


def test_a_reading_of_test_says_what_was_read(home: Home, tiny_data: Path) -> None:
    output = said(home, tiny_data, "--tta", "flip", "--part", "test").output
    assert "Test has been read for this network alone." in output
    assert list(read_on_test(home, "first")) == ["first and mirrored pictures"]


def test_a_calibration_changes_depth_as_it_says(home: Home, tiny_data: Path) -> None:
    plain = json.loads(said(home, tiny_data, "--json").output)["values"]
    found = json.loads(said(home, tiny_data, "--json", "--calibration", "phone").output)
    assert found["values"]["depth_median/rmse_pooled"] == pytest.approx(plain["depth_median/rmse_pooled"], rel=1e-4)
    assert found["values"]["depth/rmse_pooled"] != pytest.approx(plain["depth/rmse_pooled"], rel=1e-2)
    assert found["values"]["mask/iou_pooled"] == plain["mask/iou_pooled"]
    assert (home.run("first") / "evaluations/val-calibrated-phone/evaluation.json").is_file()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--with", "first"], "first is named twice; each member of an ensemble counts once."),
        (["--with", "larger"], "these runs cannot be averaged: larger has size 48x48, first 32x32."),
        (["--with", "secnd"], "there is no run 'secnd'"),
        (["--calibration", "fone"], "run first has no calibration 'fone'; did you mean 'phone'?"),
        (["--calibration", "phone", "--with", "second"], "a calibration is of one run"),
        (["--size", "32"], "--size is for FILE.onnx or hf:FOLDER, not for a run."),
    ],
)
def test_what_cannot_be_joined_is_said(home: Home, tiny_data: Path, words: list[str], why: str) -> None:
    before = sorted((home.run("first") / "evaluations").rglob("*"))
    found = said(home, tiny_data, *words)
    assert why in " ".join(f"{found.output} {found.exception}".split())
    assert sorted((home.run("first") / "evaluations").rglob("*")) == before


def test_networks_of_others_are_not_joined(home: Home, tiny_data: Path) -> None:
    words = ["hf:folder", str(tiny_data), "--tta", "flip", "--home", str(home.root)]
    found = CliRunner().invoke(command, words)
    assert found.exit_code == 2
    assert "--tta is for a run, not for a network of others." in found.output
