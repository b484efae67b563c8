"""References where runs are shown: leaderboard, comparison and report."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.homes import make_home
from helpers.running import execute

import dmx.cli.table
from dmx.cli.compare import compare as compare_command
from dmx.cli.leaderboard import leaderboard
from dmx.cli.train import show_standing
from dmx.compare.runs import compare
from dmx.errors import UserError
from dmx.results.references import TITLES
from dmx.sample_table import SampleTable
from dmx.tracking.home import Home

ROWS = [
    "reference: mean depth map",
    "reference: global mean depth",
    "reference: global median depth",
    "reference: mean mask",
    "reference: background difference",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single run `r` and a study `st` of three trials."""
    folder = tmp_path_factory.mktemp("made")
    make_home(folder)
    return folder


@pytest.fixture
def home(made: Path) -> Path:
    return made / "home"


def values_of(home: Path) -> dict[str, dict[str, float]]:
    (path,) = home.glob("references/*/references.json")
    return dict(json.loads(path.read_text())["values"])


def strongest(home: Path) -> tuple[str, float]:
    """Which reference of depth has the least error here, and how much."""
    rmse = {
        name: values["depth/rmse_pooled"] for name, values in values_of(home).items() if "depth/rmse_pooled" in values
    }
    name = min(rmse, key=lambda one: rmse[one])
    return TITLES[name], rmse[name]


def said(home: Path, *words: str, command: Any = leaderboard) -> str:
    result = CliRunner().invoke(command, [*words, "--home", str(home)], catch_exceptions=False)
    assert result.exit_code == 0
    return str(result.output)


@pytest.mark.parametrize("study", [(), ("st",)])
def test_programs_get_them_after_the_runs(home: Path, study: tuple[str, ...]) -> None:
    rows = json.loads(said(home, *study, "--top", "1", "--json"))
    board = list(csv.DictReader(io.StringIO(said(home, *study, "--top", "1", "--csv"))))
    for found in (rows, board):
        assert [row["outcome"] for row in found] == ["complete", *["reference"] * 5]
        assert [row["run"] for row in found[1:]] == ROWS
        assert [row["place"] or None for row in found[1:]] == [None] * 5
    known = values_of(home)
    assert rows[1]["val/depth/rmse_pooled"] == known["mean_map"]["depth/rmse_pooled"]
    assert float(board[5]["val/mask/iou_pooled"]) == known["background_difference"]["mask/iou_pooled"]
    assert board[5]["val/depth/rmse_pooled"] == ""


def test_people_get_them_as_a_block_beneath(home: Path) -> None:
    lines = said(home, "st").splitlines()
    first = next(number for number, line in enumerate(lines) if ROWS[0] in line)
    assert lines[first - 1].strip() == ""
    assert lines[first - 2].split()[0] == "3"
    known = values_of(home)["mean_map"]
    for row, line in zip(ROWS, lines[first : first + 5], strict=True):
        assert line.strip().startswith(f"{row} ")
    shown = [f"{known[f'depth/{name}_pooled']:.4g}" for name in ("rmse", "delta1")]
    assert lines[first].split()[4:] == ["reference", shown[0], "-", shown[1]]
    assert "st-0000 against the references: val/depth/rmse_pooled " in "\n".join(lines)


def test_in_a_narrow_terminal_they_cost_no_column(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmx.cli.table, "WIDE", 70)
    narrow = said(home, "st")
    known = values_of(home)
    depth = [f"depth/{name} {known['mean_map'][f'depth/{name}_pooled']:.4g}" for name in ("rmse", "delta1")]
    assert f"\n{ROWS[0]}: {', '.join(depth)}\n" in narrow
    assert f"\n{ROWS[3]}: mask/iou {known['mean_mask']['mask/iou_pooled']:.4g}\n" in narrow
    assert narrow.splitlines()[1].split()[:4] == ["#", "run", "outcome", "depth/rmse"]


def test_a_home_without_them_is_as_before(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    shutil.rmtree(tmp_path / "home/references")
    assert len(json.loads(said(tmp_path / "home", "st", "--json"))) == 3
    assert "reference" not in said(tmp_path / "home", "st")
    found = json.loads(said(tmp_path / "home", "r", "st-0001", "--json", command=compare_command))
    assert all(row["references"] == {} for row in found["metrics"])
    with pytest.raises(UserError, match=r"has no references of these runs: .* the next run on the same data"):
        compare(Home(tmp_path / "home"), ["r", "reference:mean_map"])


def test_a_reference_is_compared_like_a_run(home: Path) -> None:
    found = compare(Home(home), ["r", "reference:mean_map", "st-0001", "reference:mean_mask"])
    assert [one.name for one in found.candidates] == ["r", ROWS[0], "st-0001", ROWS[3]]
    own = SampleTable.load(home / "runs/r/val_samples.parquet")
    known = values_of(home)
    value = own.finished("depth/rmse", own.sums["depth/rmse"].sum(0))
    depth, same, mask = found.differences["depth/rmse_pooled"]
    assert depth is not None
    assert depth.value == pytest.approx(known["mean_map"]["depth/rmse_pooled"] - value)
    assert depth.low < depth.value < depth.high
    assert depth.networks
    assert same is not None
    assert mask is None  # a reference of the mask says nothing of depth
    assert found.values["depth/rmse_pooled"][3] is None
    assert found.values["mask/iou_pooled"][1] is None
    assert [*found.changed] == ["optimizer.lr"]
    assert found.changed["optimizer.lr"][1] == "-"
    turned = compare(Home(home), ["reference:mean_map", "r"], ["depth/rmse_pooled"])
    (back,) = turned.differences["depth/rmse_pooled"]
    assert back is not None
    assert back.value == -depth.value
    with pytest.raises(UserError, match=r"no reference 'mean'; did you mean 'mean_map'\?"):
        compare(Home(home), ["r", "reference:mean"])
    with pytest.raises(UserError, match="references alone are not compared; name a run, too"):
        compare(Home(home), ["reference:mean_map", "reference:mean_mask"])


def test_a_comparison_shows_the_strongest(home: Path, tmp_path: Path) -> None:
    words = ("r", "reference:global_mean", "--metric", "depth/rmse_pooled")
    page = tmp_path / "page.html"
    shown = said(home, *words, "--html", str(page), command=compare_command)
    name, rmse = strongest(home)
    assert f"{rmse:.4g} ({name})" in shown
    assert "strongest reference" in shown
    assert f" ({name})</td>" in page.read_text()
    rows = list(csv.DictReader(io.StringIO(said(home, *words, "--csv", command=compare_command))))
    assert [row["run"] for row in rows] == ["r", ROWS[1], ROWS[0], ROWS[2]]


def test_the_report_has_them_beneath_the_best(home: Path) -> None:
    from dmx.report.study_data import gather
    from dmx.report.summary import board
    from dmx.sweep.definition import load_trials

    config, queue = load_trials(Home(home), "st", None)
    table = board(gather(config, queue.load_study(), Home(home)))
    places = [table.index(text) for text in ("st-0002", *ROWS)]
    assert places == sorted(places)
    assert table.count("<td>reference</td>") == 5


def test_the_end_of_a_run_says_how_it_stands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "runs/r/result.json"
    record = json.loads(path.read_text())
    name, rmse = strongest(home)
    for factor, expected in (
        (0.5, f": {name} {rmse:.4g}, skill "),
        (2, f": NO BETTER THAN the {name},"),
    ):
        record["best"]["metrics"]["val/depth/rmse_pooled"] = rmse * factor
        path.write_text(json.dumps(record))
        show_standing(Home(home), "r")
        told = capsys.readouterr().out
        assert told.startswith(f"r against the references: val/depth/rmse_pooled {rmse * factor:.4g}{expected}")


def test_the_tag_of_a_run_goes_with_its_end(tiny: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """In the journal, from which MLflow is filled: a network that learned nothing is below a reference."""
    still = tiny(optimizer={"name": "adamw", "lr": 1e-9}, stages=[{"epochs": 1, "size": 16, "batch_size": 8}])
    execute(still, tmp_path)
    last = json.loads((tmp_path / "runs/r/journal.jsonl").read_text().splitlines()[-1])
    assert last["tags"] == {"dmx.below_reference": "mean depth map: val/depth/rmse_pooled"}
