"""A user's mistake: exit code 2, one message that says where and what to do, no traceback, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

Run = Callable[..., Any]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def refused(dmx: Run, tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Trains an experiment that must be refused, and gives the message."""

    def run(data: dict[str, Any]) -> str:
        path, home = tmp_path / "experiment.yaml", tmp_path / "home"
        path.write_text(yaml.safe_dump(data))
        said = dmx("train", path, "--home", home)
        assert said.code == 2, said
        assert said.err.startswith("Error: ")
        assert "Traceback" not in said.err
        assert not home.exists()
        return str(said.err)

    return run


@pytest.fixture
def copied(tiny: Make, tiny_data: Path, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """An experiment on a copy of the tiny data set that a test may damage."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_data, copy)
    return tiny(data={"root": str(copy), "split": {"val": 0.25, "test": 0.25}}), copy


def some(folder: Path) -> Path:
    return sorted(folder.iterdir())[5]


def test_unknown_keys_wrong_types_and_illegal_values(refused: Run, tiny: Make) -> None:
    text = refused(tiny(optimizer={"name": "adamw", "lr": "fast", "weight_dcay": 1}, loss={"mask": "bce"}, sed=1))
    assert "experiment.yaml has 4 problems" in text
    for expected in (
        "optimizer.lr: must be a valid number",
        "did you mean 'weight_decay'?",
        "loss.depth: is missing",
        "did you mean 'seed'?",
    ):
        assert expected in text


def test_a_data_folder_that_is_not_there(refused: Run, tiny: Make) -> None:
    text = refused(tiny(data={"root": "data/nowhere"}))
    assert "data/nowhere" in text
    assert "dmx data synth" in text


def test_a_picture_that_is_not_there(refused: Run, copied: Any) -> None:
    data, root = copied
    gone = some(root / "depth")
    gone.unlink()
    text = refused(data)
    assert "pictures are missing" in text
    assert gone.name in text


def test_a_picture_that_cannot_be_read(refused: Run, copied: Any) -> None:
    data, root = copied
    for path in (root / "image").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert "is truncated or damaged (100 bytes); restore the picture or leave it out." in refused(data)


def test_shapes_that_differ_in_a_quartet(refused: Run, copied: Any) -> None:
    data, root = copied
    for path in (root / "mask").iterdir():
        cv2.imwrite(str(path), np.zeros((20, 32), np.uint8))
    text = refused(data)
    assert "20" in text
    assert "32" in text


def test_a_mask_that_is_not_binary(refused: Run, copied: Any) -> None:
    data, root = copied
    for path in (root / "mask").iterdir():
        cv2.imwrite(str(path), np.arange(32 * 32, dtype=np.uint8).reshape(32, 32))
    text = refused(data)
    assert "mask" in text
    assert "threshold" in text


def test_depth_without_a_known_pixel(refused: Run, copied: Any) -> None:
    data, root = copied
    for path in (root / "depth").iterdir():
        cv2.imwrite(str(path), np.zeros((32, 32), np.uint16))
    assert "depth" in refused(data)


def test_an_encoder_that_is_not_there(refused: Run, tiny: Make) -> None:
    text = refused(tiny(model={"name": "unet", "encoder": "resnet81"}))
    assert "model.encoder" in text
    assert "did you mean 'resnet18'?" in text


def test_a_background_that_the_data_does_not_have(refused: Run, copied: Any) -> None:
    data, root = copied
    rows = (root / "samples.csv").read_text().splitlines()
    place = rows[0].split(",").index("background")
    kept = [",".join(cell for i, cell in enumerate(row.split(",")) if i != place) for row in rows]
    (root / "samples.csv").write_text("\n".join(kept) + "\n")
    text = refused(data)
    assert "model.inputs: model 'depthmasknet' takes a background, but" in text
    assert "has none; set it to image" in text


def test_a_loss_that_does_not_fit_the_depth(refused: Run, tiny: Make) -> None:
    text = refused(tiny(loss={"mask": "bce", "depth": ["l1", "bce_dice"]}, depth_link="identity"))
    assert "loss.depth.1: depth loss 'bce_dice' is for relative depth, but the depth of" in text


def test_weights_that_cannot_be_had_are_refused_at_once(refused: Run, tiny: Make) -> None:
    text = refused(tiny(model={"name": "unet", "weights": "imagenet"}))
    assert "weights" in text
    assert "none" in text


def test_a_device_that_is_not_there(refused: Run, tiny: Make) -> None:
    assert "training.device is mps, but torch finds none" in refused(tiny(training={"device": "mps"}))


def test_a_key_that_is_a_mapping(dmx: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: {{foo}}\n")
    said = dmx("train", path)
    assert said.code == 2
    assert "is not readable YAML" in said.err


def test_a_study_given_to_train_and_an_experiment_given_to_sweep(dmx: Run, tmp_path: Path, tiny: Make) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "experiment": tiny(), "search": {}, "trials": 1}))
    assert "is a study; run it with `dmx sweep" in dmx("train", path).err
    path.write_text(yaml.safe_dump(tiny()))
    assert "is an experiment; run it with `dmx train" in dmx("sweep", path).err


def test_a_study_reports_its_problems_before_anything_is_written(dmx: Run, tmp_path: Path, tiny: Make) -> None:
    path, home = tmp_path / "a.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump({"name": "x", "experiment": tiny(), "search": {"model": ["unett"]}, "trials": 1}))
    said = dmx("sweep", path, "--home", home)
    assert said.code == 2
    assert "search.model: no model 'unett'; did you mean 'unet'?" in said.err
    assert not home.exists()


def test_names_that_are_not_there(dmx: Run, tmp_path: Path) -> None:
    for arguments, expected in (
        (("swep",), "no command 'swep'; did you mean 'sweep'?"),
        (("describe", "unett"), "no component 'unett'; did you mean 'unet'?"),
        (("describe", "models", "silog"), "no component 'silog'"),
        (("leaderboard", "none", "--home", tmp_path), "there is no study 'none' in"),
        (("train-best", "none", "--home", tmp_path), "no study 'none'"),
        (("train", "--resume", "none", "--home", tmp_path), "there is no run 'none' in"),
        (("train",), "give the YAML of an experiment, or --resume RUN."),
        (("train", tmp_path / "none.yaml"), "none.yaml; check the path."),
        (("ui", "--home", tmp_path), "nothing was ever run"),
        (("reproduce", "none", "--home", tmp_path), "there is no run 'none' in"),
        (("export", "none", tmp_path / "a.onnx", "--home", tmp_path), "there is no run 'none' in"),
        (("calibrate", "none", tmp_path, "--home", tmp_path), "there is no run 'none' in"),
        (("demo", "none", "--home", tmp_path), "there is no run 'none' in"),
        (("data", "import", "nyu", tmp_path, tmp_path / "x"), "no importer 'nyu'; did you mean 'nyuv2'?"),
    ):
        said = dmx(*arguments)
        assert said.code == 2, arguments
        assert expected in said.err
        assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []
