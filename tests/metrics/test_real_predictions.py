"""Every metric on what a real network says of real photographs, against independent code."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.oracles import DEPTH, MASK, ORACLES, both
from scipy.ndimage import distance_transform_cdt
from sklearn.metrics import brier_score_loss, jaccard_score

from dmx.config import parse_experiment
from dmx.datatools.importers.nyuv2 import nyuv2
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.evaluate import predictions
from dmx.experiment.trained import trained
from dmx.metrics import Evaluator
from dmx.quartet import Batch, Prediction
from dmx.tracking import Home

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def spoken(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[tuple[Batch, Prediction]]]:
    """A small network after a hundred steps on NYU Depth V2, and what it says of 24 test frames."""
    folder = tmp_path_factory.mktemp("nyu")
    nyuv2(real_data / "nyuv2", folder / "data")
    data = {
        "name": "real",
        "data": {"root": str(folder / "data"), "split": {"val": 0.1}},
        "model": {"name": "depthmasknet", "width": 8, "inputs": "image"},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 3e-3},
        "stages": [{"epochs": 1, "size": [96, 128], "batch_size": 8}],
    }
    home = Home(folder / "home")
    prepared = prepare(parse_experiment(data, "real"), home)
    run(prepared, home, "real", Tracking("e", {"dmx.role": "run"}, stores=False))
    network = trained(home, "real")
    ids = prepared.split.test[::27][:24]
    return network.spec, [*predictions(network, prepared.index, ids, lambda done, of: None)]


def gathered(pairs: list[tuple[Batch, Prediction]], get: Callable[[Batch, Prediction], torch.Tensor]) -> np.ndarray:
    return torch.cat([get(batch, prediction) for batch, prediction in pairs]).double().numpy()


def values_of(spec: Any, pairs: list[tuple[Batch, Prediction]]) -> dict[str, Any]:
    evaluator = Evaluator(spec, thorough=True)
    for batch, prediction in pairs:
        evaluator.update(prediction, batch)
    return dict(evaluator.compute())


def test_each_metric_of_pixels(spoken: Any) -> None:
    spec, pairs = spoken
    z, y = gathered(pairs, lambda b, p: p.mask_logits), gathered(pairs, lambda b, p: p.depth)
    g, t = gathered(pairs, lambda b, p: b.mask) > 0.5, gathered(pairs, lambda b, p: b.depth)
    g_valid, t_valid = (gathered(pairs, get) > 0 for get in (lambda b, p: b.mask_valid, lambda b, p: b.valid))
    assert 0.5 < g_valid.mean() < 0.99  # some pixels are of no known class
    values = values_of(spec, pairs)
    assert values["depth/rmse_pooled"] > 0.3
    for task, oracles, given in (("mask", MASK, (z, g, g_valid)), ("depth", DEPTH, (y, t, t_valid))):
        for name, oracle in oracles.items():
            pooled, per_image = both(oracle, *given)
            assert values[f"{task}/{name}_pooled"] == pytest.approx(pooled, abs=1e-6), name
            assert values[f"{task}/{name}_per_image"] == pytest.approx(per_image, abs=1e-6), name
    p = 1 / (1 + np.exp(-z))
    assert values["mask/brier_pooled"] == pytest.approx(brier_score_loss(g[g_valid], p[g_valid]), abs=1e-6)


def test_each_metric_of_a_whole_mask(spoken: Any) -> None:
    """The program of the literature knows no unknown pixels: here they are background for both."""
    spec, pairs = spoken
    known = [(replace(b, mask_valid=torch.ones_like(b.mask_valid)), p) for b, p in pairs]
    values = values_of(spec, known)
    p = 1 / (1 + np.exp(-gathered(known, lambda b, p: p.mask_logits)[:, 0]))
    g = gathered(known, lambda b, p: b.mask)[:, 0] > 0.5
    for name, (make, read) in ORACLES.items():
        oracle = make()
        for one, truth in zip(p, g, strict=True):
            oracle.step(one, truth, normalize=False)
        assert values[f"mask/{name}_per_image"] == pytest.approx(float(read(oracle.get_results())), abs=1e-6), name
    distance = round(0.02 * np.hypot(*g.shape[1:]))
    rims = [
        [m & (distance_transform_cdt(np.pad(m, 1), metric="chessboard")[1:-1, 1:-1] <= distance) for m in masks]
        for masks in (g, p > 0.5)
    ]
    expected = jaccard_score(np.stack(rims[0]).ravel(), np.stack(rims[1]).ravel())
    assert values["mask/boundary_iou_pooled"] == pytest.approx(expected, abs=1e-6)
