"""Real, tiny runs side by side: in numbers, as files, and as a page with pictures."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dmx.cli.compare import compare as command
from dmx.cli.leaderboard import leaderboard
from dmx.cli.table import fitting
from dmx.compare.columns import Column, Kind
from dmx.compare.leads import leads
from dmx.compare.pictures import most_different
from dmx.compare.runs import compare
from dmx.config import parse_experiment
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.results.ranking import rank, results
from dmx.results.records import read_result
from dmx.sample_table import SampleTable
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]


def trained(home: Path, name: str, data: dict[str, Any]) -> None:
    prepared = prepare(parse_experiment(data, name), Home(home))
    run(prepared, Home(home), name, Tracking("e", {"dmx.role": "run"}, stores=False))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Two seeds at a good learning rate, two at one that learns nothing."""
    home = tmp_path_factory.mktemp("home")
    for rate, kind in ((1e-2, "good"), (1e-7, "still")):
        for seed in (0, 1):
            data = {
                "name": "tiny",
                "seed": seed,
                "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
                "model": {"name": "depthmasknet", "width": 4},
                "loss": {"mask": "bce_dice", "depth": "l1"},
                "optimizer": {"name": "adamw", "lr": rate},
                "stages": [{"epochs": 4, "size": 32, "batch_size": 8}],
            }
            trained(home, f"{kind}{seed}", data)
    return home


def test_sums_of_samples_give_the_metrics_of_the_run(home: Path) -> None:
    found = read_result(home / "runs/good0")
    assert found is not None
    assert found[0].best is not None
    samples = SampleTable.load(home / "runs/good0/val_samples.parquet")
    assert len(samples.ids) == len(set(samples.ids)) == 12
    assert len(set(samples.groups)) == 3
    comparison = compare(Home(home), ["good0", "still0"])
    for metric, d in comparison.differences.items():
        value = found[0].best.metrics[f"val/{metric}"]
        assert value == comparison.values[metric][0]
        if d[0] is not None:
            assert d[0].first == pytest.approx(value, rel=1e-12)


def test_seeds_are_one_candidate_whose_lesser_error_is_a_negative_difference(home: Path) -> None:
    found = compare(Home(home), ["still0", "still1", "good0", "good1"])
    assert [one.name for one in found.candidates] == ["still0 (2 seeds)", "good0 (2 seeds)"]
    assert found.changed == {"optimizer.lr": [1e-7, 1e-2]}
    (d,) = found.differences["depth/rmse_pooled"]
    assert d is not None
    assert not d.networks
    assert d.value < 0
    same = compare(Home(home), ["still0", "still1", "good0"])
    assert [len(one.runs) for one in same.candidates] == [2, 1]


def test_one_seed_is_counted_once(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    shutil.copytree(home, folder)
    shutil.copytree(folder / "runs/good0", folder / "runs/twin")
    said = [one.name for one in compare(Home(folder), ["good0", "good0", "still0"]).candidates]
    assert said == ["good0", "still0"]
    with pytest.raises(UserError, match=r"good0 and twin have the same configuration and seed \(0\)"):
        compare(Home(folder), ["good0", "twin", "still0"])


def test_runs_that_cannot_be_compared_are_refused(home: Path, tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seeds of one configuration"):
        compare(Home(home), ["good0", "good1"])
    with pytest.raises(UserError, match=r"no run 'good9' has ended in .*; did you mean 'good"):
        compare(Home(home), ["good0", "good9"])
    other = tiny(data={**tiny()["data"], "split": {"val": 0.5, "test": 0.25}})
    mixed = tmp_path / "mixed"
    shutil.copytree(home, mixed)
    trained(mixed, "other", other)
    with pytest.raises(UserError, match="good0 and other cannot be compared: their split differs"):
        compare(Home(mixed), ["good0", "other"])


def test_the_command_speaks_to_people_and_to_programs(home: Path, tmp_path: Path) -> None:
    def said(*options: str) -> str:
        words = ["good0", "still0", "--home", str(home), *options]
        result = CliRunner().invoke(command, words, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    told = " ".join(said().split())
    assert "by Student's t over groups of samples (12 samples in 3 groups), wider as " in told
    assert "of its configuration nothing follows" in told
    rows = list(csv.DictReader(io.StringIO(said("--csv"))))
    rows = [row for row in rows if not row["run"].startswith("reference: ")]
    data = json.loads(said("--json"))
    assert data["runs"] == ["good0", "still0"]
    assert {row["verdict"] for row in rows} <= {"", "network better", "network worse", "unclear"}
    by_name = {(row["metric"], row["run"]): row for row in rows}
    worse = by_name["depth/rmse_pooled", "still0"]
    assert float(worse["difference"]) > 0
    for row in rows:  # processors differ in what four epochs end in, not in what follows from it
        if row["verdict"]:
            assert (row["verdict"] == "unclear") == (float(row["low"]) <= 0 <= float(row["high"]))
    assert worse["verdict"] in ("unclear", "network worse")
    assert len(rows) == 2 * len(data["metrics"])

    page = tmp_path / "page.html"
    assert f"Wrote {page}." in said("--html", str(page))
    source = page.read_text()
    assert source.count("data:image/png;base64,") == 4
    assert "optimizer.lr" in source
    assert "http://" not in source.replace("http://www.w3.org", "")


def test_one_metric_alone_has_a_narrower_interval_than_among_all(home: Path) -> None:
    names, metric = ["good0", "still0"], "depth/rmse_pooled"
    alone, among = (compare(Home(home), names, only) for only in ([metric], []))
    assert alone.metrics == (metric,)
    (one,), (other,) = alone.differences[metric], among.differences[metric]
    assert one is not None
    assert other is not None
    assert one.value == other.value
    assert one.high - one.low < other.high - other.low
    assert "at once" not in alone.message
    with pytest.raises(UserError, match="no metric 'depth/rmse'; did you mean 'depth/rmse_pooled'"):
        compare(Home(home), names, ["depth/rmse"])


@pytest.mark.parametrize(
    "metric", ["mask/iou_per_image", "mask/iou_pooled", "depth/rmse_per_image", "depth/mae_pooled"]
)
def test_the_page_s_pictures_are_chosen_by_the_objective_s_own_metric(
    home: Path, tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mlruns"
    shutil.copytree(home, folder)
    for name in ("good0", "still0"):
        path = folder / "runs" / name / "result.json"
        record = json.loads(path.read_text())
        record["objective"] = {"metric": f"val/{metric}", "direction": "minimize"}
        path.write_text(json.dumps(record))
    chosen: list[str] = []
    monkeypatch.setattr("dmx.compare.pictures.pairs", lambda home, first, second, name: chosen.append(name) or [])
    words = ["good0", "still0", "--home", str(folder), "--html", str(tmp_path / "page.html")]
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0
    assert chosen == [metric.removesuffix("_pooled").removesuffix("_per_image")]


def test_the_samples_that_differ_most_come_first(home: Path) -> None:
    first, second = compare(Home(home), ["good0", "still0"]).candidates
    chosen = most_different(first, second, "depth/rmse", 12)
    apart = [abs(one - other) for _, one, other in chosen]
    assert len(chosen) == 12
    assert apart == sorted(apart, reverse=True)


def test_a_page_of_data_that_are_gone_says_so(home: Path, tmp_path: Path, tiny_data: Path) -> None:
    gone = tiny_data.with_name("gone")
    tiny_data.rename(gone)
    try:
        page = tmp_path / "page.html"
        words = ["good0", "still0", "--home", str(home), "--html", str(page)]
        assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0
    finally:
        gone.rename(tiny_data)
    assert "Not shown: " in page.read_text()


def test_the_leaderboard_is_there_for_programs(home: Path) -> None:
    def said(form: str) -> str:
        result = CliRunner().invoke(leaderboard, ["--home", str(home), form], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    rows = json.loads(said("--json"))
    board = list(csv.DictReader(io.StringIO(said("--csv"))))
    assert [row["run"] for row in rows] == [row["run"] for row in board]
    rows, board = rows[:4], board[:4]  # then come the references
    assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))
    values = [row["val/depth/rmse_pooled"] for row in rows]
    assert values == sorted(values)
    assert [float(row["val/depth/rmse_pooled"]) for row in board] == values
    assert {row["param optimizer.lr"] for row in rows} == {1e-2, 1e-7}


def test_the_leaderboard_says_which_leads_are_more_than_noise(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    shutil.copytree(home, folder)
    shutil.copytree(folder / "runs/good0", folder / "runs/twin")  # its difference is nought
    (folder / "runs/still1/val_samples.parquet").unlink()

    def board(*arguments: str) -> list[str]:
        result = CliRunner().invoke(leaderboard, ["--home", str(folder), *arguments], catch_exceptions=False)
        return result.output.splitlines()

    lines = board()
    assert "to 1st" in lines[1]
    rows = {line.split()[1]: line.split() for line in lines[2:7]}
    places = {run: cells[0] for run, cells in rows.items()}
    first = next(run for run, place in places.items() if place == "1")
    if first in ("good0", "twin"):
        assert rows["twin" if first == "good0" else "good0"][4] == "unclear"
    found = leads(Home(folder), rank(results(Home(folder)))).by_run
    said = rows["still0"][4] if rows["still0"][4] == "unclear" else " ".join(rows["still0"][4:6])
    assert said == found["still0"].verdict
    assert rows["still1"][4] == "-"  # nobody knows any more
    unclear = [one.level for one in found.values() if not one.clear]
    assert set(unclear) == {1 - 0.05 / len(unclear)}  # by Holm: those that are not clear share what is left
    assert max(one.level for one in found.values()) > 0.95
    told = " ".join(" ".join(lines).split())
    assert "To 1st: Intervals: 95 %, by Student's t over groups of samples (12 samples in 3 groups), wider as " in told
    assert "The first was chosen as the best of many, so it is lucky, too" in told

    few = board("--top", "2")
    assert "... and 3 more; `--top` shows them." in few
    assert len([line for line in few if line.split()[:1] in (["1"], ["2"], ["3"])]) == 2


def test_a_narrow_terminal_gets_fewer_columns_never_half_a_number() -> None:
    kinds: dict[str, Kind] = {"run": "name", "iou": "metric", "model": "text", "optimizer": "text", "time": "seconds"}
    wanted = [Column(name, kind, lambda place, entry: None) for name, kind in kinds.items()]
    cells = dict(zip(wanted, (["mine-0017"], ["0.1234"], ["depthmasknet"], ["adamw 0.00093"], ["12s"]), strict=True))
    shown = {width: [column.name for column in fitting(wanted, cells, width)] for width in (52, 51, 37, 36, 10)}
    assert shown[52] == [*kinds]  # 9 + 6 + 12 + 13 + 4, and two spaces between
    assert shown[51] == shown[37] == ["run", "iou", "model", "time"]
    assert shown[36] == ["run", "iou", "time"]
    assert shown[10] == ["run", "iou"]
