"""The trivial predictors of a data set: by hand, against NumPy on the way that runs go, and kept for all runs."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.running import execute

from dmx.config import parse_experiment
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import read
from dmx.data.split import split
from dmx.datatools.synth import synth
from dmx.errors import UserError
from dmx.experiment import check, identity_of
from dmx.experiment.evaluate import evaluate
from dmx.experiment.references import Judge, Late, Predictors, Source, Sums, kept_references, load_predictors, spread
from dmx.experiment.trained import trained
from dmx.quartet import Batch, DepthSpec
from dmx.results.records import read_result
from dmx.results.references import References, read_known, references_of
from dmx.sample_table import SampleTable
from dmx.tracking.home import REFERENCES, Home

Make = Callable[..., dict[str, Any]]
METRES = DepthSpec("metric", 0.5, 10.0)


def rows(*values: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)[:, None, None]


def batch(depth: Any, valid: Any, mask: Any, known: Any, changed: Any) -> Batch:
    """Rows of four pixels; `changed` is by how much green is above the background's, in 255ths."""
    count = len(depth)
    background = torch.full((count, 3, 1, 4), 100 / 255)
    image = background.clone()
    image[:, 1] += torch.tensor(changed)[:, None] / 255
    return Batch(
        tuple(f"{i}" for i in range(count)),
        image,
        background,
        rows(*mask),
        rows(*known, dtype=torch.bool),
        rows(*depth),
        rows(*valid, dtype=torch.bool),
    )


@pytest.fixture
def by_hand() -> tuple[Batch, Predictors]:
    """Two training samples; the last pixel's depth is known in none, the first one's in the second alone."""
    given = batch(
        depth=[[9.0, 2.0, 4.0, 9.0], [1.0, 4.0, 8.0, 9.0]],
        valid=[[0, 1, 1, 0], [1, 1, 1, 0]],
        mask=[[1, 1, 0, 1], [1, 0, 0, 0]],
        known=[[1, 1, 1, 0], [1, 1, 1, 1]],
        changed=[[40, 20, 10, 90], [50, 3, 30, 3]],
    )
    sums = Sums()
    for one in given.split(1):
        sums.take(one, step=1)
    return given, sums.predictors()


def test_the_depths_by_hand(by_hand: tuple[Batch, Predictors]) -> None:
    """Known are 2, 4, 1, 4 and 8: mean 19/5, median 4."""
    given, found = by_hand
    depths = found.depths(given)
    assert (found.mean, found.median) == (pytest.approx(19 / 5), 4)
    assert depths["mean_map"][1].flatten().tolist() == pytest.approx([1, 3, 6, 19 / 5])
    assert depths["global_mean"].unique().tolist() == pytest.approx([19 / 5])
    assert depths["global_median"].shape == (2, 1, 1, 4)


def test_the_masks_by_hand(by_hand: tuple[Batch, Predictors]) -> None:
    """Means 1, 1/2, 0, 0. Hits and false alarms: of the first pixel 2 and 0, of the first two 3 and 1.

    IoU above 1/2: 2/3; above 0 and below 1/2: 3/4. Of thresholds that are equally good the middle one is taken.
    By differences of 40, 20 and 50 the object's pixels are found; 30 is a false alarm at any level below, so the IoU
    is 2/3 from 30 on, and 3/4 from 10 on.
    """
    given, found = by_hand
    p, hard = found.masks(given)["mean_mask"]
    assert p[0].flatten().tolist() == [1, 0.5, 0, 0]
    assert hard[0].flatten().tolist() == [1, 1, 0, 0]
    assert found.mask_threshold == pytest.approx(0.25, abs=1 / 300)
    assert found.difference_threshold is not None
    assert 10 / 255 < found.difference_threshold < 20 / 255
    p, hard = found.masks(given)["background_difference"]
    assert torch.equal(p, hard)
    assert hard[:, 0, 0].tolist() == [[1, 1, 0, 1], [1, 0, 1, 0]]


def test_the_values_by_hand(by_hand: tuple[Batch, Predictors]) -> None:
    """On the training samples themselves. Errors of the map: 1, 1, 2, 2 and 0 squared are 10 over 5 pixels."""
    given, found = by_hand
    judge = Judge(found, METRES, thorough=True)
    judge.take(given)
    values = judge.values()
    assert values["mean_map"]["depth/rmse_pooled"] == pytest.approx(np.sqrt(10 / 5))
    assert values["mean_map"]["depth/skill_pooled"] == 0
    squares = sum((t - 19 / 5) ** 2 for t in (2, 4, 1, 4, 8))
    assert values["global_mean"]["depth/skill_pooled"] == pytest.approx(1 - squares / 10)
    assert values["mean_mask"]["mask/iou_pooled"] == pytest.approx(3 / 4)
    assert values["mean_mask"]["mask/brier_pooled"] == pytest.approx(2 * 0.25 / 7)  # the two pixels of 1/2 of seven
    assert values["mean_mask"]["mask/skill_pooled"] == 0
    assert values["background_difference"]["mask/iou_pooled"] == pytest.approx(3 / 4)
    assert "mask/iou_pooled" not in values["mean_map"]


def test_nothing_known_gives_no_reference() -> None:
    nothing = [[0, 0, 0, 0]]
    sums = Sums()
    sums.take(replace(batch([[1.0] * 4], nothing, [[1] * 4], nothing, [[9] * 4]), background=None), step=1)
    given = batch([[1.0] * 4], [[1] * 4], [[1] * 4], [[1] * 4], [[9] * 4])
    assert sums.predictors().depths(given) == sums.predictors().masks(given) == {}


def test_samples_are_spread_evenly() -> None:
    numbers = spread(10_001, 2000)
    assert (len(numbers), numbers[0], numbers[-1]) == (2000, 0, 10_000)
    assert set(np.diff(numbers)) == {5, 6}
    assert spread(5) == [0, 1, 2, 3, 4]


def test_progress_is_told_once_it_takes_a_while() -> None:
    told: list[tuple[int, int]] = []
    late = Late(lambda done, total: told.append((done, total)), total=3)
    late.add(1)
    assert told == []
    late.begun -= 3
    late.add(1)
    late.add(1)
    assert told == [(2, 3), (3, 3)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    """A run `r` whose objective is skill."""
    home = tmp_path_factory.mktemp("home")
    data = {
        "name": "tiny",
        "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "stages": [{"epochs": 2, "size": 16, "batch_size": 8}],
        "objective": "val/depth/skill_pooled",
    }
    execute(data, home)
    return Home(home)


def record(home: Home) -> Any:
    found = read_result(home.run("r"))
    assert found is not None
    return found


def kept(home: Home) -> References:
    found = references_of(home, [record(home)[1]])
    assert found is not None
    return found


def arrays(root: Path, ids: Any, size: int = 16) -> dict[str, np.ndarray]:
    """Samples as arrays, as validation has them."""
    quartets = [QuartetDataset(read(root), ids, (size, size), memory=False)[i] for i in range(len(ids))]
    return {
        name: np.stack([getattr(one, name) for one in quartets]).astype(float)
        for name in ("image", "background", "mask", "mask_valid", "depth", "valid")
    }


def test_a_run_has_them_as_numpy_has(home: Home, tiny_data: Path) -> None:
    parts = split(read(tiny_data), val=0.25, test=0.25, seed=0, by="group")
    train, val = arrays(tiny_data, parts.train), arrays(tiny_data, parts.val)
    found = kept(home)
    assert (found.known.made_from, found.known.training) == (len(parts.train),) * 2
    known = np.where(train["valid"] > 0, train["depth"], np.nan)
    depth = np.nanmean(known, 0)
    depth = np.where(np.isnan(depth), np.nanmean(known), depth)
    there = val["valid"] > 0
    for name, y in (("mean_map", depth), ("global_mean", np.nanmean(known)), ("global_median", np.nanmedian(known))):
        error = np.where(there, y - val["depth"], 0)
        rmse = np.sqrt((error**2).sum() / there.sum())
        assert found.values[name]["depth/rmse_pooled"] == pytest.approx(rmse, rel=1e-5)
        mae = np.mean(np.abs(error).sum((1, 2)) / there.sum((1, 2)))
        assert found.values[name]["depth/mae_per_image"] == pytest.approx(mae, rel=1e-5)
    change, change_val = (np.abs(one["image"] - one["background"]).max(-1) for one in (train, val))

    def iou(hard: np.ndarray, g: np.ndarray) -> float:
        return float((hard & (g > 0)).sum() / (hard | (g > 0)).sum())

    mean = train["mask"].mean(0)
    for name, p, p_val in (
        ("mean_mask", mean + 0 * train["mask"], mean + 0 * val["mask"]),
        ("background_difference", change / 255, change_val / 255),
    ):
        levels = np.arange(300) / 300
        best = max(iou(p > level, train["mask"]) for level in levels)
        chosen = found.known.constants["mask_threshold" if name == "mean_mask" else "difference_threshold"]
        assert chosen is not None
        assert iou(p > chosen, train["mask"]) == pytest.approx(best)
        assert found.values[name]["mask/iou_pooled"] == pytest.approx(iou(p_val > chosen, val["mask"]))


def test_the_skill_of_a_run_is_measured_against_them(home: Home) -> None:
    result, stored = record(home)
    found = kept(home)
    assert stored["objective"] == {"metric": "val/depth/skill_pooled", "direction": "maximize"}
    metrics = result.best.metrics
    ratio = metrics["val/depth/rmse_pooled"] / found.values["mean_map"]["depth/rmse_pooled"]
    assert result.best.value == metrics["val/depth/skill_pooled"] == pytest.approx(1 - ratio**2)
    own, other = (SampleTable.load(path) for path in (home.run("r") / "val_samples.parquet", found.samples("mean_map")))
    assert list(own.ids) == list(other.ids)
    assert list(own.groups) == list(other.groups)
    np.testing.assert_allclose(own.sums["depth/skill"][:, 1], other.sums["depth/rmse"][:, 0])
    masks = SampleTable.load(found.samples("mean_mask"))
    np.testing.assert_allclose(own.sums["mask/skill"][:, 1], masks.sums["mask/skill"][:, 0])


def test_evaluation_has_them_on_the_runs_own_parts_and_on_other_data_of_its_kind(
    home: Home, tiny_data: Path, tmp_path: Path
) -> None:
    network = trained(home, "r")
    own = evaluate(network, tiny_data, "val", home)
    assert own.values["depth/skill_pooled"] == pytest.approx(record(home)[0].best.value, rel=1e-6)
    quick = {name: {m: v for m, v in each.items() if m in own.values} for name, each in own.references.items()}
    for name, values in kept(home).values.items():
        assert {metric: quick[name][metric] for metric in values} == pytest.approx(values)
    assert quick["mean_mask"]["mask/brier_pooled"] is not None
    test = evaluate(network, tiny_data, "test", home)
    assert test.references["mean_map"]["depth/skill_pooled"] == 0
    assert None not in (test.values["depth/skill_pooled"], test.values["depth_median/skill_per_image"])
    synth(tmp_path / "other", count=4, size=16, seed=9, workers=1)
    other = evaluate(network, tmp_path / "other", None, home)
    index = read(tmp_path / "other")
    opened = QuartetDataset(index, tuple(sample.id for sample in index.samples), network.size, memory=False)
    depths = np.stack([opened[number].depth for number in range(len(opened))]).astype(np.float64)
    trained_on = load_predictors(kept(home).folder).maps.depth
    assert trained_on is not None
    error = float(np.sqrt(np.mean((depths - trained_on.numpy()[0]) ** 2)))
    assert other.references["mean_map"]["depth/rmse_pooled"] == pytest.approx(error, rel=1e-6)
    assert other.references["background_difference"]["mask/iou_pooled"] is not None
    rmse = other.values["depth/rmse_pooled"]
    assert rmse is not None
    assert other.values["depth/skill_pooled"] == pytest.approx(1 - (rmse / error) ** 2, rel=1e-5)
    synth(tmp_path / "relative", count=4, size=16, seed=9, kind="relative", workers=1)
    unlike = evaluate(network, tmp_path / "relative", None, home)
    assert unlike.references == {}
    skills = {name: value for name, value in unlike.values.items() if "skill" in name}
    assert skills
    assert set(skills.values()) == {None}


@pytest.fixture
def source(tiny: Make, tmp_path: Path) -> Source:
    checked = check(parse_experiment(tiny(), "test"), Home(tmp_path))

    def opened(ids: tuple[str, ...]) -> QuartetDataset:
        return QuartetDataset(checked.index, ids, (32, 32), memory=False)

    return Source(checked.index, checked.split, opened, identity_of(checked))


def test_many_that_need_them_at_once_make_them_once(source: Source, tmp_path: Path) -> None:
    opened: list[int] = []

    def counting(ids: tuple[str, ...]) -> QuartetDataset:
        opened.append(len(ids))
        return source.open(ids)

    found: list[Predictors] = []
    each = replace(source, open=counting)
    threads = [threading.Thread(target=lambda: found.append(kept_references(Home(tmp_path), each))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [len(source.parts.train), len(source.parts.val)]
    assert len(found) == 4
    for one in found:
        assert one.maps.depth is not None
        assert torch.equal(one.maps.depth, found[0].maps.depth)  # type: ignore[arg-type]
    assert len({(one.mean, one.median, one.mask_threshold, one.difference_threshold) for one in found}) == 1


def test_a_damaged_file_is_made_anew(source: Source, tmp_path: Path) -> None:
    home = Home(tmp_path)
    kept_references(home, source)
    for name in (REFERENCES, "maps.safetensors", "mean_map.parquet"):
        path = home.references / source.key / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        kept_references(home, source)
        assert path.read_bytes() == whole


def test_one_who_only_reads_says_what_to_do_about_a_damaged_file(source: Source, tmp_path: Path) -> None:
    home = Home(tmp_path)
    kept_references(home, source)
    folder = home.references / source.key
    (folder / REFERENCES).write_text("{}")
    with pytest.raises(UserError, match=r"references.json: is damaged .*; remove .*; the next run on these data makes"):
        references_of(home, [source.identity])
    with pytest.raises(UserError, match="is gone"):
        read_known(tmp_path)


def test_other_definitions_are_other_references_and_fewer_are_not(source: Source, tmp_path: Path) -> None:
    home = Home(tmp_path)

    def with_definitions(**changes: str) -> dict[str, Any]:
        return {**source.identity, "definitions": {"depth/rmse_pooled": "another", **changes}}

    older = {k: v for k, v in source.identity["definitions"].items() if "skill" not in k}
    kept_references(home, source)
    for known in (source.identity, {**source.identity, "definitions": older}, {**source.identity, "definitions": {}}):
        assert references_of(home, [{}, known]) is not None
    for unknown in ({}, {**source.identity, "size": [8, 8]}, with_definitions()):
        assert references_of(home, [unknown]) is None
    kept_references(home, replace(source, identity=with_definitions()))
    found = [references_of(home, [one]) for one in (source.identity, with_definitions(**{"mask/new_pooled": "new"}))]
    assert [one and one.known.definitions["depth/rmse_pooled"] for one in found] == [
        source.identity["definitions"]["depth/rmse_pooled"],
        "another",
    ]
