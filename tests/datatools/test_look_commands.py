"""`dmx data check`, `stats` and `show` as a user types them."""

import json
import os
import shutil
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result

from dmx.cli.data import data
from dmx.data.layout import DatasetIndex, read
from dmx.datatools.stats import read_stats
from dmx.errors import DataError, UserError


def call(*words: object) -> Result:
    return CliRunner().invoke(data, [str(word) for word in words])


@pytest.fixture
def copy(rooms: DatasetIndex, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rooms.root, tmp_path / "set"))


def test_check_of_a_sound_set(copy: Path, tmp_path: Path) -> None:
    done = call("check", copy, "--json", tmp_path / "r.json", "--picture", tmp_path / "w.png")
    assert (done.exit_code, done.stdout) == (
        0,
        f"{copy}: 27 samples, 0 errors, 0 warnings\nReport: {tmp_path}/r.json\n"
        f"{tmp_path}/w.png is not written: there is nothing wrong to be shown.\n",
    )
    assert json.loads((tmp_path / "r.json").read_text())["findings"] == []


def test_check_of_a_damaged_set(copy: Path, tmp_path: Path) -> None:
    for path in sorted((copy / "mask").iterdir())[:12]:
        path.write_bytes(b"")
    (copy / "background/room00006.png").unlink()
    done = call("check", copy, "--json", tmp_path / "r.json", "--picture", tmp_path / "w.png", "--worst", 4)
    assert done.exit_code == 1
    lines = [line.split() for line in done.output.splitlines()]
    assert ["missing", "error", "1", "3", "a", "picture", "is", "not", "there"] in lines
    assert ["empty-file", "error", "12", "12", "a", "file", "without", "a", "byte"] in lines
    assert "  000009: mask/000009.png has no byte; restore the picture or take the sample out" in done.output
    assert "000010" not in done.output
    assert "  and 2 more\n" in done.output
    assert f"{copy}: 27 samples, 13 errors, 0 warnings\n" in done.output
    assert len(json.loads((tmp_path / "r.json").read_text())["findings"]) == 13
    assert cv2.imread(str(tmp_path / "w.png")) is not None


def test_stats_are_computed_once_for_the_same_data(copy: Path) -> None:
    first = call("stats", copy)
    assert first.exit_code == 0
    assert "27 samples in 7 groups; 32x32 (27)" in first.output
    assert "█" in first.output
    stored = copy / "stats.json"
    stored.write_text(stored.read_text().replace('"samples": 27', '"samples": 99'))
    assert "99 samples" in call("stats", copy).output
    (copy / "samples.csv").write_text("\n".join((copy / "samples.csv").read_text().splitlines()[:-1]) + "\n")
    assert "26 samples" in call("stats", copy).output


def test_stats_are_computed_again_where_a_picture_changed_in_place(copy: Path) -> None:
    call("stats", copy)
    stored = (copy / "stats.json").read_text()
    os.utime(copy / "depth/000000.png", ns=(0, 1))
    (copy / "stats.json").write_text(stored.replace('"samples": 27', '"samples": 99'))
    assert "27 samples" in call("stats", copy).output


def test_statistics_come_into_a_pack_also_later(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    pack = ("pack", copy, out, "--size", 16)
    assert call(*pack).exit_code == 0
    refused = call("stats", out)
    assert isinstance(refused.exception, DataError)
    assert str(refused.exception) == (
        f"{out}: is a pack without statistics; take those of the data set that it was made from, and repeat "
        "`dmx data pack`, which brings them here."
    )
    assert call("stats", copy).exit_code == 0
    assert "holds already" in call(*pack).output
    found, index = read_stats(out), read(out)
    assert found is not None
    assert found.fingerprint == index.fingerprint()
    assert found.image_mean == read_stats(copy).image_mean  # type: ignore[union-attr]
    assert call("stats", out).output == call("stats", copy).output
    assert "now holds" in call("pack", copy, tmp_path / "later", "--size", 8).output
    assert read_stats(tmp_path / "later") is not None


def test_show(copy: Path, tmp_path: Path) -> None:
    for words in (("--count", 2, "--seed", 1), ("--ids", "000003, 000001")):
        assert call("show", copy, tmp_path / "a.png", *words).stdout == f"{tmp_path}/a.png\n"
        assert cv2.imread(str(tmp_path / "a.png")) is not None


@pytest.mark.parametrize(
    ("words", "what"),
    [(["show", "set", "a.jpg"], "the sheet is"), (["check", "set", "--picture", "a.jpg"], "the worst samples are")],
)
def test_pictures_are_png(words: list[str], what: str) -> None:
    done = call(*words)
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == f"a.jpg: {what} written as PNG only; let its name end in .png."
