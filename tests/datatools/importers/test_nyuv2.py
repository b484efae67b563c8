"""NYU Depth V2 as 320x240 frames, made up and real."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.split import split
from dmx.data.writing import Summary
from dmx.datatools.importers.nyuv2 import STEP
from dmx.errors import DataError

Run = Callable[..., Summary]


@pytest.mark.parametrize("copy", [False, True])
def test_frames(nyu: Path, tmp_path: Path, run: Run, copy: bool) -> None:
    assert str(run("nyuv2", nyu, copy=copy)) == f"{tmp_path}/out now holds 6 samples in 4 groups"
    index = read(tmp_path / "out")
    index.check_files()
    assert index.pictures == (tmp_path / "out" if copy else nyu)
    assert [(r.id, r.group, r.split) for r in index.samples] == [
        ("0001", "run000", "train"),
        ("0002", "run000", "train"),
        ("0003", "run001", "test"),
        ("0004", "run002", "train"),
        ("0005", "run003", "test"),
        ("0006", "run003", "test"),
    ]
    quartet = read_quartet(index, index.samples[2])
    assert quartet.background is None
    assert quartet.depth[0, 0] == pytest.approx((53 + 0.5) * 0.0391979)
    assert quartet.mask.tolist() == [[0, 0, 0, 1], [0, 1, 0, 1]]
    assert quartet.mask_valid.tolist() == [[False, True, True, True], [True] * 4]
    found = split(index, val=0.4, test=0.3, seed=0, by="group")
    assert found.test == ("0003", "0005", "0006")
    if copy:
        for path in index.files():
            assert (tmp_path / "out" / path).read_bytes() == (nyu / path).read_bytes()
    else:
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.yaml", "samples.csv"]


def test_both_ways_declare_the_same(nyu: Path, tmp_path: Path, run: Run) -> None:
    declared = []
    for copy in (False, True):
        run("nyuv2", nyu, copy=copy)
        declared.append(yaml.safe_load((tmp_path / "out/dataset.yaml").read_text()))
        (tmp_path / "out").rename(tmp_path / f"out{copy}")
    assert declared[0].pop("pictures") == str(nyu)
    assert declared[1].pop("pictures") is None
    assert declared[0] == declared[1]
    assert (tmp_path / "outFalse/samples.csv").read_text() == (tmp_path / "outTrue/samples.csv").read_text()


def test_leaves_out_frames_without_a_partner_and_with_a_broken_label(nyu: Path, run: Run) -> None:
    (nyu / "label/0004.png").unlink()
    (nyu / "label/0002.png").write_text("")
    (nyu / "depth/0005.png").unlink()
    assert str(run("nyuv2", nyu)).endswith(
        "3 samples in 3 groups; left out: 1 with a picture that cannot be read (label/0002.png), "
        "1 without depth (image/0005.jpg), 1 without mask (image/0004.jpg)"
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "split.csv is missing"),
        ("id\n0001\n", "split.csv lacks the column id or split"),
        ("id,split\n0001,dev\n", "split.csv has the part 'dev' beside train and test"),
        ("id,split\n0099,train\n", "it holds no whole sample: 1 without image (0099)"),
    ],
)
def test_another_folder(nyu: Path, tmp_path: Path, text: str | None, what: str, run: Run) -> None:
    (nyu / "split.csv").unlink() if text is None else (nyu / "split.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        run("nyuv2", nyu)
    assert str(caught.value) == (
        f"{nyu}: is not NYU Depth V2 as expected ({what}); give nyu_depth_v2_labeled.mat, or the folder that holds "
        "image/NNNN.jpg, depth/NNNN.png, label/NNNN.png and split.csv (id,split)."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nyu"]


@pytest.mark.realdata
def test_real(tmp_path: Path, real_data: Path, run: Run) -> None:
    summary = run("nyuv2", real_data / "nyuv2")
    assert (summary.samples, summary.groups, dict(summary.left_out)) == (1449, 247, {})
    index = read(tmp_path / "out")
    index.check_files()
    found = split(index, val=0.15, test=0.2, seed=0, by="group")
    assert (len(found.train) + len(found.val), len(found.test)) == (795, 654)
    assert len(found.val) == pytest.approx(0.15 * 795, abs=15)
    unknown = []
    for record in index.samples[::10]:
        quartet = read_quartet(index, record)
        assert quartet.image.shape == (240, 320, 3)
        assert quartet.valid.all()
        unknown.append((~quartet.mask_valid).mean())
        raw = quartet.depth / STEP - 0.5
        assert np.abs(raw - raw.round()).max() < 1e-4
    assert 0.1 < np.mean(unknown) < 0.25  # its README: about 18 %
