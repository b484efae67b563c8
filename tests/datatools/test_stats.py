"""Statistics are those of all pixels together, whatever the number of processes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.datatools.stats import QUANTILES, Stats, read_stats, stats, write_stats
from dmx.datatools.synth import synth
from dmx.errors import DataError


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    """150 quartets of 16x16, which are three chunks."""
    out = tmp_path_factory.mktemp("stats") / "many"
    synth(out, count=150, size=16, seed=2, workers=1)
    return read(out)


@pytest.fixture(scope="session")
def found(many: DatasetIndex) -> Stats:
    return stats(many, workers=1)


def test_against_numpy_on_all_pixels(many: DatasetIndex, found: Stats) -> None:
    quartets = [read_quartet(many, record) for record in many.samples]
    pairs = [("image", found.image_mean, found.image_std), ("background", found.background_mean, found.background_std)]
    for role, mean, deviation in pairs:
        pixels = np.concatenate([getattr(one, role).reshape(-1, 3) for one in quartets]) / 255
        np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(deviation, pixels.std(axis=0), rtol=1e-12)
    assert found.depth is not None
    depth = np.concatenate([one.depth[one.valid] for one in quartets]).astype(np.float64)
    assert found.depth.mean == pytest.approx(depth.mean(), rel=1e-12)
    assert found.depth.deviation == pytest.approx(depth.std(), rel=1e-9)
    assert found.depth.valid == depth.size / (150 * 16 * 16)
    assert list(found.depth.quantiles) == ["0", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "1"]
    expected = np.quantile(depth, QUANTILES, method="inverted_cdf")
    np.testing.assert_allclose(list(found.depth.quantiles.values()), expected, atol=11.7 / 4096)
    assert (found.depth.quantiles["0"], found.depth.quantiles["1"]) == (depth.min(), depth.max())
    assert found.depth.histogram == tuple(np.histogram(depth, 32, (0.3, 12.0))[0].tolist())
    coverage = np.array([one.mask.mean() for one in quartets])
    assert found.coverage.mean == pytest.approx(coverage.mean(), rel=1e-12)
    assert (found.coverage.least, found.coverage.greatest) == (coverage.min(), coverage.max())
    assert found.coverage.histogram == tuple(np.histogram(coverage, 32, (0, 1))[0].tolist())


def test_counts(many: DatasetIndex, found: Stats) -> None:
    assert (found.name, found.samples, found.sizes) == (many.name, 150, {"16x16": 150})
    assert found.splits == {}
    assert found.groups == {f"room{n:05}": 4 if n < 37 else 2 for n in range(38)}
    assert found.fingerprint == many.fingerprint()


def test_the_official_split_is_counted(many: DatasetIndex, tmp_path: Path) -> None:
    shutil.copytree(many.root, tmp_path / "set")
    lines = (tmp_path / "set/samples.csv").read_text().splitlines()
    rows = [line + ("test" if "room00001" in line else "train") for line in lines[1:]]
    (tmp_path / "set/samples.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    assert stats(read(tmp_path / "set"), workers=1).splits == {"test": 4, "train": 146}


def test_the_number_of_processes_changes_nothing(many: DatasetIndex, found: Stats) -> None:
    told: list[tuple[int, int]] = []
    assert stats(many, workers=2, progress=lambda *n: told.append(n)) == found
    assert told == [(64, 150), (128, 150), (150, 150)]


def test_stored_and_read(many: DatasetIndex, found: Stats, tmp_path: Path) -> None:
    assert read_stats(tmp_path) is None
    write_stats(tmp_path, found)
    assert read_stats(tmp_path) == found
    assert [path.name for path in tmp_path.iterdir()] == ["stats.json"]
    (tmp_path / "stats.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        read_stats(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/stats.json: cannot be read as statistics (ValidationError); remove it and run `dmx data stats "
        f"{tmp_path}`."
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("quantiles", {"0x10": 1.0}), ("histogram", []), ("histogram", [0] * 32), ("histogram", [-1] * 32)],
)
def test_damaged_depth_is_refused(key: str, value: object, found: Stats, tmp_path: Path) -> None:
    damaged = json.loads(found.model_dump_json())
    damaged["depth"][key] = value
    (tmp_path / "stats.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match=r"cannot be read as statistics"):
        read_stats(tmp_path)


def test_a_folder_that_cannot_be_written_to(found: Stats, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        write_stats(tmp_path / "file", found)
    assert str(caught.value) == (
        f"{tmp_path}/file/stats.json: cannot be written (Not a directory), so the statistics are not kept; make the "
        "folder writable, or link its files into one of your own."
    )


def test_a_sample_that_cannot_be_read(many: DatasetIndex, tmp_path: Path) -> None:
    shutil.copytree(many.root, tmp_path / "set")
    (tmp_path / "set/image/000003.png").write_text("no")
    with pytest.raises(DataError, match=r"image/000003.png: is of a format that is not known"):
        stats(read(tmp_path / "set"), workers=1)
