"""A real, tiny run on its own parts and on other data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner

from dmx.cli.evaluate import evaluate as command
from dmx.config import parse_experiment
from dmx.datatools.synth import synth
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.accumulators import EvaluationAccumulators, ranges_of, size_of
from dmx.experiment.evaluate import evaluate
from dmx.experiment.evaluation_store import load_evaluation, read_on_test
from dmx.experiment.trained import trained
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.results.records import read_result
from dmx.sample_table import SampleTable
from dmx.tracking import Home
from dmx.tracking.journal import MetricsLogged, read
from dmx.tracking.panel import BAR, GAP, HEADER, SCALE

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    for name, inputs in (("both", "image+background"), ("alone", "image")):
        data = {
            "name": name,
            "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
            "model": {"name": "depthmasknet", "width": 4, "inputs": inputs},
            "loss": {"mask": "bce_dice", "depth": "l1"},
            "optimizer": {"name": "adamw", "lr": 1e-2},
            "stages": [{"epochs": 3, "size": 32, "batch_size": 8}],
        }
        prepared = prepare(parse_experiment(data, name), home)
        run(prepared, home, name, Tracking("e", {"dmx.role": "run"}, stores=False))
    return home


def test_on_validation_it_gives_what_training_gave(home: Home, tiny_data: Path) -> None:
    found = evaluate(trained(home, "both"), tiny_data, "val", home)
    result = read_result(home.run("both"))
    assert result is not None
    assert result[0].best is not None
    for name, value in result[0].best.metrics.items():
        assert found.values[name.removeprefix("val/")] == pytest.approx(value, rel=1e-6), name
    assert found.threshold == found.probabilities.best_threshold
    assert (found.own, found.where) == (True, "val")
    before = SampleTable.load(home.run("both") / "val_samples.parquet")
    assert (before.ids, before.groups) == (list(found.samples.ids), list(found.samples.groups))


def test_strata_add_up_to_the_whole(home: Home, tiny_data: Path) -> None:
    found = evaluate(trained(home, "both"), tiny_data, "all", home)
    rows = [*found.strata.by_depth()]
    pixels = np.array([row["pixels"] for row in rows], dtype=float)
    there = pixels > 0
    for name in ("abs_rel", "mae", "delta1"):
        each = np.array([row.get(f"depth/{name}_pooled") for row in rows], dtype=float)
        assert np.average(each[there], weights=pixels[there]) == pytest.approx(found.values[f"depth/{name}_pooled"])
    assert sum(int(str(row["samples"])) for row in found.strata.by_size()) == 48
    assert ranges_of(DepthSpec("metric", 0.3, 12.0)) == [(0.3, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8), (8, 12.0)]
    assert ranges_of(DepthSpec("metric", 1.0, 4.0)) == [(1.0, 2), (2, 4.0)]
    assert [size_of(share) for share in (0, 0.005, 0.05, 0.2, 1)] == [
        "no object",
        "under 1 %",
        "1 to 5 %",
        "5 to 20 %",
        "over 20 %",
    ]


def test_the_worst_are_the_worst(home: Home, tiny_data: Path) -> None:
    found = evaluate(trained(home, "both"), tiny_data, "all", home)
    for metric, best_is in (("mask/iou", max), ("depth/abs_rel", min)):
        values = found.samples.values(metric)
        shown = [sight.value for sight in found.worst.found[metric]]
        assert shown == sorted(values[~np.isnan(values)], reverse=best_is is min)[:4]
        by_id = dict(zip(found.samples.ids, values, strict=True))
        named = [sight.id for sight in found.worst.found[metric]]
        assert [by_id[name] for name in named] == shown
        assert len(set(named)) == len(named)


def test_the_command_keeps_all_of_it_with_the_run(home: Home, tiny_data: Path) -> None:
    words = ["both", str(tiny_data), "--part", "test", "--home", str(home.root)]
    said = CliRunner().invoke(command, words, catch_exceptions=False)
    assert "Test has been read for this network alone." in said.output
    assert "both on synth-metric-32-48 (test), 12 samples" in said.output
    assert "the best threshold on the run's own validation samples: pooled IoU" in said.output
    folder = home.run("both") / "evaluations/test"
    assert sorted(path.name for path in folder.iterdir()) == [
        "evaluation.html",
        "evaluation.json",
        "samples.parquet",
        "worst_depth_abs_rel.png",
        "worst_mask_iou.png",
    ]
    kept = load_evaluation(home, "both", "test")
    assert len(SampleTable.load(folder / "samples.parquet").ids) == 12
    logged = {
        k: v
        for e, _ in read(home.run("both") / "journal.jsonl")
        if isinstance(e, MetricsLogged)
        for k, v in e.values.items()
    }
    for name, value in kept["values"].items():
        if value is not None:
            assert logged[f"test/{name}"] == value
    assert kept["values"]["depth_median/abs_rel_pooled"] is not None
    assert set(kept["definitions"]) >= set(kept["values"]) - {"mask/calibration_error_pooled"}
    assert read_result(home.run("both"))[0].outcome == "complete"  # type: ignore[index]


def test_test_is_read_where_it_is_named_and_how_often_is_said(home: Home, tiny_data: Path, tmp_path: Path) -> None:
    copy = Home(tmp_path / "home")
    for name in ("both", "alone"):
        shutil.copytree(home.run(name), copy.run(name), ignore=shutil.ignore_patterns("evaluations"))

    def said(*words: str) -> str:
        arguments = [*words, "--home", str(copy.root)]
        return CliRunner().invoke(command, [words[0], str(tiny_data), *arguments[1:]], catch_exceptions=False).output

    assert "both on synth-metric-32-48 (val), 12 samples" in said("both")
    assert read_on_test(copy, "both") == {}
    assert "Test has been read for this network alone." in said("both", "--part", "test")
    first = read_on_test(copy, "both")["both"]
    path = copy.run("both") / "evaluations/test/evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"when": "2026-01-02T03:04:05+00:00"}))
    again = said("both", "--part", "test")
    assert "for this network alone" in again
    assert read_on_test(copy, "both") == {"both": "2026-01-02T03:04:05+00:00"}  # the first time counts
    told = " ".join(said("alone", "--part", "all").split())
    assert f"Test has been read for 2 networks: both (2026-01-02), alone ({first[:10]})." in told
    assert "Choosing among them by it biases the result." in told


def test_other_data_of_another_kind(home: Home, tmp_path: Path) -> None:
    """Relative depth with the near end high: only least squares makes sense, and the metrics say so."""
    other = tmp_path / "other"
    synth(other, count=8, size=32, seed=3, kind="relative", workers=1)
    arguments = ["alone", str(other), "--json", "--home", str(home.root)]
    said = CliRunner().invoke(command, arguments, catch_exceptions=False)
    found = json.loads(said.output)
    assert {name.partition("/")[0] for name in found["values"]} == {
        "mask",
        "depth_least_squares",
        "joint_least_squares",
    }
    assert found["values"]["depth_least_squares/rmse_pooled"] > 0
    assert (found["own"], found["part"]) == (False, "all")
    assert load_evaluation(home, "alone", found["data_name"])["threshold"] == found["threshold"]
    assert found["threshold"]["best_on_validation"] is not None
    logged = [k for e, _ in read(home.run("alone") / "journal.jsonl") if isinstance(e, MetricsLogged) for k in e.values]
    assert f"eval/{found['data_name']}/mask/iou_pooled" in logged


def test_what_cannot_be_done_is_said(home: Home, tiny_data: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_data, bare)
    rows = (bare / "samples.csv").read_text().splitlines()
    at = rows[0].split(",").index("background")
    (bare / "samples.csv").write_text(
        "\n".join(",".join(c for i, c in enumerate(r.split(",")) if i != at) for r in rows)
    )
    with pytest.raises(UserError, match=r"both takes a background, but '.*' has none; name a run of a model with"):
        evaluate(trained(home, "both"), bare, None, home)
    with pytest.raises(UserError, match=r"there is no run 'bot' in .*; did you mean 'both'\?"):
        trained(home, "bot")
    with pytest.raises(UserError, match=r"there is no run 'al' in .*; did you mean 'alone'\?"):
        trained(home, "al")
    copy = Home(tmp_path / "home")
    shutil.copytree(home.run("both"), copy.run("both"))
    (copy.run("both") / "best.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"best\.safetensors is not there: .*its weights were removed, by `dmx gc` or by hand"
    ):
        trained(copy, "both")
    shutil.copytree(home.run("alone"), copy.run("alone"))
    (copy.run("alone") / "result.json").unlink()
    said = CliRunner().invoke(command, ["alone", str(tiny_data), "--home", str(copy.root)])
    assert "run alone has not ended" in str(said.exception)
    with pytest.raises(UserError, match="run both has no evaluation 'nowhere'"):
        load_evaluation(home, "both", "nowhere")
    damaged = copy.run("both") / "evaluations/other/evaluation.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    with pytest.raises(UserError, match=r"other/evaluation\.json: is damaged .*remove .*other and evaluate both again"):
        read_on_test(copy, "both")


def test_the_page_needs_nothing_but_itself(home: Home, tiny_data: Path) -> None:
    CliRunner().invoke(
        command, ["both", str(tiny_data), "--part", "val", "--home", str(home.root)], catch_exceptions=False
    )
    page = (home.run("both") / "evaluations/val/evaluation.html").read_text()
    assert "<script" not in page
    assert "://" not in page
    for title in ("All metrics", "By depth", "By size of the object", "The mask&#39;s threshold", "The worst samples"):
        assert title in page
    worst = cv2.imread(str(home.run("both") / "evaluations/val/worst_mask_iou.png"))
    assert worst.shape[1] == 6 * 128 + 5 * GAP + GAP + SCALE
    assert (worst[HEADER:, -SCALE + BAR + 4 :] < 128).any()  # the ends of the depth's scale


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    """The sums of batches are small and are kept; between them are large tensors, which are freed."""
    spec = DepthSpec("metric", 0.1, 10.0)
    B, H, W = 4, 128, 160
    depth, mask = torch.rand(B, 1, H, W) * 9 + 0.5, (torch.rand(B, 1, H, W) > 0.5).float()
    known = torch.ones(B, 1, H, W, dtype=torch.bool)
    picture = torch.rand(B, 3, H, W)
    batch = Batch(tuple("abcd"), picture, picture, mask, known, depth, known)
    gathered = EvaluationAccumulators(spec, spec, ("none",))
    used = []
    for _ in range(7):
        gathered.take(batch, Prediction(mask - 0.5, depth + 0.1))
        used.append(psutil.Process().memory_info().rss)
    assert used[-1] - used[1] < 20 * 2**20, [one // 2**20 for one in used]
