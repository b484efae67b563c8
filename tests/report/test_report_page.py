"""The page of a real study, its numbers against the files that the study left."""

import json
import re
import shutil
import statistics
from collections import Counter
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dmx.cli import cli
from dmx.compare.leads import leads
from dmx.compare.pictures import rows_of_run
from dmx.experiment.evaluate import own_split
from dmx.results.ranking import Entry
from dmx.results.records import read_result
from dmx.results.references import TITLES
from dmx.tracking import Home
from dmx.tracking.panel import GAP, HEADER

pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow

Parse = Callable[[str], Any]
ORDER = [
    "what-was-searched",
    "what-won",
    "the-best-ten",
    "how-the-search-went",
    "what-mattered",
    "each-parameter-by-itself",
    "the-two-that-mattered-most",
    "what-failed-and-why",
    "what-pruning-saved",
    "what-it-looks-like",
]


def written(home: Path, out: Path) -> str:
    cli(["report", "tiny", "--home", str(home), "--out", str(out)], standalone_mode=False)
    return out.read_text()


def records(home: Path, role: str = "trial") -> list[dict[str, Any]]:
    """Read apart from the package, best first."""
    stored = [json.loads(path.read_text()) for path in (home / "runs").glob("*/result.json")]
    alike = [record for record in stored if record["tags"].get("dmx.role") == role]
    return sorted(alike, key=lambda record: (record["outcome"] != "complete", record["best"]["value"]))


def test_the_page_says_what_the_files_say(swept: Path, tmp_path: Path, parse: Parse) -> None:
    page = parse(written(swept, tmp_path / "page.html"))
    runs = records(swept)
    sections = page.sections
    assert list(sections) == ORDER

    outcomes = Counter(run["outcome"] for run in runs)
    assert f"9 trials ended: {', '.join(f'{n} {o}' for o, n in outcomes.most_common())}." in sections[ORDER[0]].said
    assert ["optimizer.adamw.lr", "1e-05 to 0.01, logarithmic", "9 trials"] in sections[ORDER[0]].rows

    best, second = runs[:2]
    won = sections["what-won"]
    assert f"{best['run']} (depthmasknet" in won.said
    assert f"val/depth/rmse_pooled = {best['best']['value']:#.4g}." in won.said
    assert f"by {second['best']['value'] - best['best']['value']:#.4g} and the median" in won.said
    assert "the noise of seeds is not known" in won.said
    assert "a single network of one seed does better or worse on such samples" in won.said
    assert "The first was chosen as the best of many, so it is lucky, too" in won.said
    assert "dmx train-best tiny" in won.said
    assert ["optimizer.adamw.lr", f"{best['params']['optimizer.lr']:.4g}"] in won.rows

    rows = sections["the-best-ten"].rows[1:]
    board = [row for row in rows if row[2] != "reference"]
    assert [(row[1], row[2], row[3]) for row in board] == [
        (run["run"], run["outcome"], f"{run['best']['value']:#.4g}") for run in ranked(runs)
    ]
    assert [row[1] for row in rows[len(board) :]] == [f"reference: {title}" for title in TITLES.values()]
    complete = [run for run in runs if run["outcome"] == "complete"]
    found = leads(Home(swept), [Entry(run["run"], *read_result(swept / "runs" / run["run"])) for run in complete])
    one = found.by_run[second["run"]]
    assert f"the next against it is {one.value:+.3g} [{one.low:+.2g}, {one.high:+.2g}]: {one.verdict};" in won.said
    assert sections["the-best-ten"].rows[0][4] == "to 1st"
    assert {row[4] for row in board[1:]} <= {"unclear", "network worse"}


def ranked(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete and pruned ones together, by value: as the leaderboard ranks them."""
    return sorted(runs, key=lambda run: run["best"]["value"])


def test_what_pruning_saved_is_counted_from_the_files(swept: Path, tmp_path: Path, parse: Parse) -> None:
    page = parse(written(swept, tmp_path / "page.html"))
    pruned = [run for run in records(swept) if run["outcome"] == "pruned"]
    assert pruned, "the study was made so that some are pruned"
    saved = sum(2 - run["epochs"] for run in pruned)
    noun = "epoch" if saved == 1 else "epochs"
    assert f"saved {saved} {noun} of 18 planned ({saved / 18:.0%})" in page.sections["what-pruning-saved"].said
    assert "Nothing failed." in page.sections["what-failed-and-why"].said


def test_nothing_is_fetched_and_nothing_can_run(swept: Path, tmp_path: Path, parse: Parse) -> None:
    source = written(swept, tmp_path / "page.html")
    page = parse(source)
    assert "http" not in source
    assert "@import" not in source
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    drawn = {name: section.tags.count("svg") for name, section in page.sections.items()}
    assert drawn["how-the-search-went"] == drawn["what-mattered"] == drawn["the-two-that-mattered-most"] == 1
    assert drawn["each-parameter-by-itself"] >= 3  # what every trial has, and what enough have
    assert page.sections["what-it-looks-like"].tags.count("img") == 3
    assert source == written(swept, tmp_path / "again.html"), "the same study gives the same page"


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs have the same configuration but for name and seed."""
    return all(one[key] == other[key] for key in one if key not in ("name", "seed"))


def test_seeds_of_train_best_tell_what_the_lead_is_worth(
    swept: Path, tmp_path: Path, parse: Parse, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(swept, home)
    cli(["train-best", "tiny", "--home", str(home)], standalone_mode=False)
    check_gain(home, capsys.readouterr().out)
    page = parse(written(home, tmp_path / "page.html"))
    assert page.sections["what-it-looks-like"].tags.count("img") == 4  # one more: trial 0 and the champion
    won = page.sections["what-won"]
    first = records(home)[0]["params"]
    seeds = [run for run in records(home, "best") if same(run["params"], first)]
    assert (len(seeds), len(records(home, "best"))) == (2, 4)
    assert "The best trials, trained anew, with means over their seeds." in won.said
    named = {row[0] for row in won.rows if re.fullmatch(r"tiny-\d{4}", row[0])}
    assert named == {run["run"] for run in records(home)[:2]}
    noise = statistics.stdev(run["best"]["value"] for run in seeds)
    first, second = (run["best"]["value"] for run in records(home)[:2])
    limit = 12.7062 * sqrt(2) * noise  # Student's t of one degree of freedom
    verdict = "beyond" if second - first > limit else "within"
    assert f"by a standard deviation of {noise:#.4g} (2 seeds)" in won.said
    assert f"up to {limit:#.4g} apart in 95 % of all cases: the lead is {verdict} the noise of seeds" in won.said
    assert [row[0] for row in won.rows if row[0].startswith("tiny-best")] == [run["run"] for run in seeds]
    test = json.loads((home / "studies/tiny/best.json").read_text())["test"]["test/depth/rmse_pooled"]
    assert f"test/depth/rmse_pooled = {test:#.4g}." in won.said


def check_gain(home: Path, said: str) -> None:
    """`train-best` says what the champion gained on trial 0, and draws both for six samples of validation."""
    champion = records(home, "best")[0]
    first = next(run for run in records(home) if run["tags"]["dmx.trial"] == "0")
    values = [run["best"]["value"] for run in (first, champion)]
    assert f"val/depth/rmse_pooled {values[0]:.4g} -> {values[1]:.4g}" in said
    picture = cv2.cvtColor(cv2.imread(str(home / "studies/tiny/champion.png")), cv2.COLOR_BGR2RGB)
    val = own_split(Home(home), first["run"]).val
    below = rows_of_run(Home(home), champion["run"], [val[-1]])[val[-1]]
    above = rows_of_run(Home(home), first["run"], [val[0]])[val[0]]
    assert picture.shape == (HEADER + 12 * len(above) + 11 * GAP, above.shape[1], 3)
    np.testing.assert_array_equal(picture[-len(below) :], below)
    np.testing.assert_array_equal(picture[HEADER : HEADER + len(above)], above)
