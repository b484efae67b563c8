"""A network of others beside runs: its command, its folder, the leaderboard, the comparison."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers.onnx_files import save
from scipy.stats import ttest_1samp

from dmx.cli.compare import compare as compare_command
from dmx.cli.evaluate import evaluate as evaluate_command
from dmx.cli.leaderboard import leaderboard as leaderboard_command
from dmx.compare.runs import compare
from dmx.config import parse_experiment
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.external import start_of
from dmx.foreign import Settings, open_network
from dmx.outcome import Outcome
from dmx.results.externals import externals
from dmx.results.ranking import results
from dmx.sample_table import SampleTable
from dmx.sweep.garbage import disk_usage
from dmx.tracking import Home, open_run
from dmx.tracking.journal import Finished, MetricsLogged, Started, read


def evaluated(home: Path, *words: object) -> Result:
    return CliRunner().invoke(evaluate_command, [*map(str, words), "--home", str(home)], catch_exceptions=True)


def without_mlflow(home: Path, path: Path, settings: Settings) -> None:
    """Begin the journal as one that is not forwarded: that takes seconds, and is tested with runs."""
    start = start_of(open_network(str(path), settings))
    open_run(Home(home), start.name, start, stores=False).finish(Outcome.COMPLETE, "")


def trained(home: Path, data: Path, name: str, **changes: object) -> None:
    experiment = {
        "name": name,
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4, "inputs": "image"},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "stages": [{"epochs": 1, "size": 32, "batch_size": 8}],
        **changes,
    }
    prepared = prepare(parse_experiment(experiment, name), Home(home))
    run(prepared, Home(home), name, Tracking("e", {"dmx.role": "run"}, stores=False))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, str, str]:
    """A home with the run `own`, a network in metres and one of disparity with a mask; and the names of the two."""
    home = tmp_path_factory.mktemp("home")
    trained(home, tiny_data, "own")
    files = tmp_path_factory.mktemp("files")
    metric = save(files / "metric.onnx", sides=(32, 32))
    near = save(files / "near.onnx", sides=(32, 32), mask="probability", metadata={"predicts": "disparity"})
    names = []
    without_mlflow(home, metric, Settings(predicts="metric", normalise="none"))
    without_mlflow(home, near, Settings(normalise="none"))
    for path, more in ((metric, ["--predicts", "metric"]), (near, [])):
        said = evaluated(home, path, tiny_data, "--like", "own", "--normalise", "none", "--json", *more)
        assert said.exit_code == 0, said.output
        names.append(json.loads(said.output)["run"])
    return home, names[0], names[1]


def test_results_are_kept_in_a_folder_and_a_journal_of_its_own(made: tuple[Path, str, str]) -> None:
    home, metric, near = made
    folder = home / "runs" / near
    assert {path.name for path in folder.iterdir()} >= {"evaluations", "external.json", "journal.jsonl"}
    assert not (folder / "result.json").exists()
    (where,) = (folder / "evaluations").iterdir()
    assert where.name.startswith("synth-metric-32-48-val-32x32-")
    assert {path.name for path in where.iterdir()} >= {"evaluation.html", "evaluation.json", "samples.parquet"}
    kept = json.loads((where / "evaluation.json").read_text())
    record = json.loads((home / "runs/own/result.json").read_text())
    assert [kept[key] for key in ("data", "split", "size")] == [record[key] for key in ("data", "split", "size")]
    facts = json.loads((folder / "external.json").read_text())
    assert (facts["file"], facts["predicts"], facts["mask_output"]) == ("near.onnx", "disparity", "mask")
    events = [event for event, _ in read(folder / "journal.jsonl")]
    assert isinstance(events[0], Started)
    assert (events[0].tags["dmx.role"], events[0].tags["dmx.sha256"]) == ("external", facts["sha256"])
    assert isinstance(events[-1], Finished)
    (logged,) = (event.values for event in events if isinstance(event, MetricsLogged))
    assert logged[f"eval/{where.name}/mask/iou_pooled"] == kept["values"]["mask/iou_pooled"]
    assert disk_usage(Home(home))["(networks of others)"]["journals"] > 0
    page = (home / "runs" / metric / "evaluations" / where.name / "evaluation.html").read_text()
    assert "All metrics" in page
    assert "The mask&#39;s threshold" not in page


def test_leaderboards_show_it_beneath_and_never_rank_it(made: tuple[Path, str, str], tmp_path: Path) -> None:
    home, metric, near = made

    def said(*options: str) -> str:
        result = CliRunner().invoke(leaderboard_command, [*options, "--home", str(home)], catch_exceptions=False)
        return result.stdout

    assert [entry.run for entry in results(Home(home))] == ["own"]
    everything = json.loads(said("--json"))
    rows = [row for row in everything if row["outcome"] != "reference"]
    assert len(everything) == len(rows) + 5
    assert [(row["place"], row["run"], row["outcome"]) for row in rows] == [
        (1, "own", "complete"),
        (None, metric, "external"),
        (None, near, "external"),
    ]
    assert rows[1]["val/depth/rmse_pooled"] > 0
    assert rows[1]["val/mask/iou_pooled"] is None
    assert "val/depth/rmse_pooled" not in rows[2]
    assert rows[2]["val/depth_least_squares/rmse_pooled"] > 0
    table = csv.DictReader(io.StringIO(said("--csv")))
    assert [row["run"] for row in table if row["outcome"] != "reference"] == ["own", metric, near]
    lines = said().splitlines()
    at = [next(i for i, line in enumerate(lines) if name in line) for name in ("own", metric, near)]
    assert at == sorted(at)
    assert lines[at[1]].split()[:2] == [metric, "external"]
    assert f"{rows[1]['val/depth/rmse_pooled']:.4g}" in lines[at[1]]
    assert "The rows beneath were evaluated on the same samples, and are not ranked." in lines


def test_what_was_evaluated_otherwise_is_not_shown(made: tuple[Path, str, str], tiny_data: Path) -> None:
    home, metric, near = made
    record = json.loads((home / "runs/own/result.json").read_text())
    assert [one.name for one in externals(Home(home), record)] == [metric, near]
    changed = {"depth/rmse_pooled": "another version"}
    for key, other in (("size", [16, 16]), ("split", "s"), ("data", "d"), ("definitions", changed)):
        shown = externals(Home(home), {**record, key: other})
        assert [one.name for one in shown] == ([near] if key == "definitions" else [])  # near has no such metric


def test_a_difference_is_that_of_paired_samples(made: tuple[Path, str, str]) -> None:
    home, metric, _ = made
    found = compare(Home(home), ["own", metric], ["depth/mae_per_image"])
    (d,) = found.differences["depth/mae_per_image"]
    assert d is not None
    own = SampleTable.load(home / "runs/own/val_samples.parquet")
    (path,) = (home / "runs" / metric / "evaluations").glob("*/samples.parquet")
    other = SampleTable.load(path)
    assert own.ids == other.ids
    apart = other.values("depth/mae") - own.values("depth/mae")
    groups = [apart[np.array(own.groups) == group] for group in sorted({*own.groups})]
    assert {len(group) for group in groups} == {4}
    # groups of one size and no spread of seeds: the paired t-test over the groups' means
    low, high = ttest_1samp([group.mean() for group in groups], 0).confidence_interval(0.95)
    assert (d.low, d.high) == pytest.approx((low, high), rel=1e-9)
    assert d.value == pytest.approx(apart.mean())
    assert found.changed["external.file"] == ["-", "metric.onnx"]
    assert not any(path.startswith("optimizer") for path in found.changed)


def test_aligned_depth_is_compared_once_the_run_was_evaluated(
    made: tuple[Path, str, str], tiny_data: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(made[0], home)
    near = made[2]
    before = compare(Home(home), ["own", near])
    assert {metric.partition("/")[0] for metric in before.metrics} == {"mask"}
    assert "once `dmx evaluate RUN DATA` was called for each run" in before.message
    assert evaluated(home, "own", tiny_data).exit_code == 0
    after = compare(Home(home), [near, "own"], ["depth_least_squares/rmse_pooled"])
    assert [one.name for one in after.candidates] == [near, "own"]
    kept = json.loads((home / "runs/own/evaluations/val/evaluation.json").read_text())["values"]
    (d,) = after.differences["depth_least_squares/rmse_pooled"]
    assert d is not None
    assert after.values["depth_least_squares/rmse_pooled"][1] == kept["depth_least_squares/rmse_pooled"]
    assert d.second == pytest.approx(kept["depth_least_squares/rmse_pooled"], rel=1e-9)
    page = tmp_path / "page.html"
    words = [near, "own", "--html", str(page), "--home", str(home)]
    assert CliRunner().invoke(compare_command, words, catch_exceptions=False).exit_code == 0
    assert "is a network of others; pictures are of runs alone" in page.read_text()


def test_the_same_file_keeps_its_name_and_another_gets_a_new_one(
    made: tuple[Path, str, str], tiny_data: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(made[0], home)
    path = save(tmp_path / "metric.onnx", sides=(32, 32))
    words = [path, tiny_data, "--like", "own", "--normalise", "none", "--predicts", "metric"]
    assert evaluated(home, *words).exit_code == 0
    assert len([*(home / "runs").glob("metric-*")]) == 1
    save(path, sides=(32, 32), slope=3.0)
    without_mlflow(home, path, Settings(predicts="metric", normalise="none"))
    said = evaluated(home, *words[:2], *words[4:], "--size", "16", "--part", "test")
    assert "(test), " in said.output
    first, second = sorted((home / "runs").glob("metric-*"), key=lambda folder: folder.name != made[1])
    assert first.name == made[1]
    assert [one.name[:30] for one in (second / "evaluations").iterdir()] == ["synth-metric-32-48-test-16x16-"]
    with pytest.raises(UserError, match=rf"{second.name} was not evaluated on the validation samples of own"):
        compare(Home(home), ["own", second.name])


def test_what_is_wrong_is_said(made: tuple[Path, str, str], tiny_data: Path, tmp_path: Path) -> None:
    home, metric, near = made
    path = save(tmp_path / "n.onnx")
    for words, message in (
        ([path, tiny_data, "--predicts", "metric"], "give either --like RUN or --size HxW"),
        ([path, tiny_data, "--like", "own", "--size", "16"], "give either --like RUN or --size HxW"),
        ([path, tiny_data, "--size", "4"], "must be a side or HEIGHTxWIDTH"),
        (["own", tiny_data, "--predicts", "metric"], "--predicts is for FILE.onnx or hf:FOLDER, not for a run"),
    ):
        said = evaluated(home, *words)
        assert said.exit_code == 2
        assert message in said.output
    for words, message in (
        ([path, tiny_data, "--like", "won"], "there is no run 'won'"),
        ([path, tiny_data, "--like", "own"], "does not say what the depth is"),
        ([tmp_path / "m.onnx", tiny_data, "--like", "own"], "m.onnx: is not there"),
    ):
        assert message in str(evaluated(home, *words).exception)
    assert not [*(home / "runs").glob("n-*")]
    with pytest.raises(UserError, match=f"{metric} and {near} are networks of others; name a run beside them"):
        compare(Home(home), [metric, near])
    with pytest.raises(UserError, match="no metric 'depth/rmse_pooled'"):
        compare(Home(home), ["own", near], ["depth/rmse_pooled"])


def test_a_damaged_evaluation_is_named(made: tuple[Path, str, str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made[0], home)
    (path,) = (home / "runs" / made[1] / "evaluations").glob("*/evaluation.json")
    path.write_text('{"values": 3}')
    with pytest.raises(UserError, match=r"evaluation.json: is damaged .*; remove .* and evaluate metric-\w+ again"):
        externals(Home(home), {})
