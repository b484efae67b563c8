"""Networks of others on real, tiny data, against predictions worked by hand in NumPy."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.onnx_files import save

from dmx.config.data import SplitConfig
from dmx.data.dataset import QuartetDataset
from dmx.data.planes import resize_picture
from dmx.data.resize import resize
from dmx.datatools.synth import synth
from dmx.errors import UserError
from dmx.experiment.evaluate import Evaluation, Selection, select
from dmx.experiment.external import evaluate_external
from dmx.foreign import Settings, open_network
from dmx.quartet import Quartet
from dmx.tracking import Home

SIZE = (32, 32)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    """Six samples of 32x32 with metric depth."""
    out = tmp_path_factory.mktemp("data") / "six"
    synth(out, count=6, size=32, seed=1, workers=1)
    return select(out, None, Home(out), None, SplitConfig())


def quartets(chosen: Selection, size: tuple[int, int] = SIZE) -> list[Quartet]:
    samples = QuartetDataset(chosen.index, chosen.ids, size, memory=False)
    return [samples[number] for number in range(len(samples))]


def found_by(path: Path, chosen: Selection, size: tuple[int, int] = SIZE, **settings: Any) -> Evaluation:
    given = {"normalise": "none", **settings}
    return evaluate_external(open_network(str(path), Settings(**given)), chosen, size)


def test_metric_depth_is_measured_as_it_is_and_aligned(chosen: Selection, tmp_path: Path) -> None:
    found = found_by(save(tmp_path / "n.onnx", sides=SIZE), chosen, predicts="metric")
    errors: dict[str, list[np.ndarray]] = {"": [], "_median": [], "_least_squares": []}
    for one in quartets(chosen):
        t = one.depth[one.valid].astype(float)
        y = 1 + 4 * (one.image[..., 0][one.valid] / 255)
        line = np.polyfit(y, t, 1)
        spec = chosen.index.depth
        aligned = {"": y, "_median": y * np.median(t) / np.median(y)}
        aligned["_least_squares"] = np.polyval(line, y).clip(spec.low, spec.high)
        for how, made in aligned.items():
            errors[how].append(np.abs(made - t))
    for how, each in errors.items():
        assert found.values[f"depth{how}/mae_pooled"] == pytest.approx(np.concatenate(each).mean(), rel=1e-5)
        of_samples = [one.mean() for one in each]
        assert found.values[f"depth{how}/mae_per_image"] == pytest.approx(np.mean(of_samples), rel=1e-5)
        np.testing.assert_allclose(found.samples.values(f"depth{how}/mae"), of_samples, rtol=1e-5)
        assert f"depth{how}/mae_pooled" in found.identity["definitions"]


def test_without_a_mask_its_metrics_have_no_value(chosen: Selection, tmp_path: Path) -> None:
    found = found_by(save(tmp_path / "n.onnx", sides=SIZE), chosen, predicts="metric")
    masks = {name: value for name, value in found.values.items() if name.startswith("mask/")}
    assert len(masks) > 10
    assert {*masks.values()} == {None}
    assert not found.has_mask
    assert np.isnan(found.samples.values("mask/iou")).all()
    assert found.worst.found["mask/iou"] == []


def test_disparity_is_measured_after_a_line_in_inverse_depth_alone(chosen: Selection, tmp_path: Path) -> None:
    found = found_by(save(tmp_path / "n.onnx", sides=SIZE), chosen, predicts="disparity")
    assert {name.partition("/")[0] for name in found.values} == {"mask", "depth_least_squares", "joint_least_squares"}
    assert {name.partition("/")[0] for name in found.samples.sums} == {
        "mask",
        "depth_least_squares",
        "joint_least_squares",
    }
    spec, squares = chosen.index.depth, []
    for one in quartets(chosen):
        t = one.depth[one.valid].astype(float)
        y = 1 + 4 * (one.image[..., 0][one.valid] / 255)
        disparity = np.polyval(np.polyfit(y, 1 / t, 1), y).clip(1 / spec.high, 1 / spec.low)
        squares.append((1 / disparity - t) ** 2)
    rmse = math.sqrt(np.concatenate(squares).mean())
    assert found.values["depth_least_squares/rmse_pooled"] == pytest.approx(rmse, rel=1e-5)
    named = found_by(tmp_path / "n.onnx", chosen, predicts="depth").values
    assert named["depth_least_squares/rmse_pooled"] != found.values["depth_least_squares/rmse_pooled"]


def test_relative_numbers_are_not_taken_for_those_of_relative_data(tmp_path: Path) -> None:
    synth(tmp_path / "data", count=3, size=32, seed=2, kind="relative", workers=1)
    chosen = select(tmp_path / "data", None, Home(tmp_path), None, SplitConfig())
    for predicts in ("disparity", "depth", "metric"):
        found = found_by(save(tmp_path / "n.onnx", sides=SIZE), chosen, predicts=predicts)
        assert {name.partition("/")[0] for name in found.values} == {
            "mask",
            "depth_least_squares",
            "joint_least_squares",
        }


@pytest.mark.parametrize("mask", ["probability", "logits"])
def test_a_mask_is_measured_against_the_true_one(chosen: Selection, tmp_path: Path, mask: str) -> None:
    path = save(tmp_path / "n.onnx", sides=SIZE, mask=mask)
    found = found_by(path, chosen, predicts="metric", mask_logits=mask == "logits")
    hits = union = 0
    brier = []
    for one in quartets(chosen):
        assert one.background is not None
        p = np.abs(one.image / 255 - one.background / 255).max(2)
        p = 1 / (1 + np.exp(-10 * (p - 0.21))) if mask == "logits" else p
        there, g = one.mask_valid, one.mask > 0
        hits += ((p > 0.5) & g & there).sum()
        union += (((p > 0.5) | g) & there).sum()
        brier.append(np.square(p - g)[there])
    assert found.values["mask/iou_pooled"] == pytest.approx(hits / union, rel=1e-6)
    assert found.values["mask/brier_pooled"] == pytest.approx(np.concatenate(brier).mean(), rel=1e-5)
    assert found.has_mask
    assert found.threshold is None


def test_it_sees_the_whole_picture_whatever_size_it_is_measured_at(chosen: Selection, tmp_path: Path) -> None:
    size = (16, 24)
    found = found_by(save(tmp_path / "n.onnx"), chosen, size, predicts="metric")
    errors = []
    for original in quartets(chosen):
        red = 1 + 4 * resize_picture(original.image, (224, 224))[..., 0].astype(np.float32) / 255
        y = cv2.resize(red, size[::-1], interpolation=cv2.INTER_LINEAR)
        truth = resize(original, size)
        errors.append(np.abs(y - truth.depth)[truth.valid])
    assert found.values["depth/mae_pooled"] == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)
    assert found.identity["size"] == [16, 24]


def test_a_background_is_needed_where_the_file_takes_one(folder: Path, tmp_path: Path) -> None:
    rows = (folder / "samples.csv").read_text().splitlines()
    (folder / "samples.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows))
    bare = select(folder, None, Home(tmp_path), None, SplitConfig())
    with pytest.raises(UserError, match=r"n.onnx takes a background, but 'plain' has none; take other data"):
        found_by(save(tmp_path / "n.onnx", mask="probability"), bare, predicts="metric")
