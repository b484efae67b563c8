"""Importers on made-up folders in the shape of the real ones, and on the real ones where they are there."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dmx.data.importers.nyuv2 import STEP
from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.split import split
from dmx.data.writing import Summary
from dmx.errors import DataError
from dmx.registry import importers, load

REAL = Path(__file__).parents[2].parent / "shared" / "data"
real = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"the real pictures are not there: {REAL}"),
]


def run(name: str, source: Path, out: Path) -> Summary:
    load()
    found = importers[name].params().bind()(source, out, None)
    assert isinstance(found, Summary)
    return found


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    root = tmp_path / "nyu"
    label = np.array([[0, 1, 2, 5], [38, 31, 22, 39]], np.uint8)
    for number in range(1, 7):
        save(root / f"image/{number:04d}.jpg", np.full((2, 4, 3), 90, np.uint8))
        save(root / f"depth/{number:04d}.png", np.full((2, 4), 50 + number, np.uint8))
        save(root / f"label/{number:04d}.png", label)
    (root / "split.csv").write_text("id,split\n0001,train\n0002,train\n0003,test\n0004,train\n0005,test\n0006,test\n")
    return root


@pytest.fixture
def by_name(tmp_path: Path) -> Path:
    root = tmp_path / "a"
    for number in ("001", "002", "003"):
        stem = f"ol_bg{number}fg{number}1_fg_{number}"
        save(root / f"bg/bg_{number}.jpg", np.full((8, 8, 3), 10, np.uint8))
        save(root / f"bgfg_overlay/{stem}.png", np.full((8, 8, 3), 20, np.uint8))
        save(root / f"bgfg_mask/mask_{stem}.png", np.array([[0, 90, 127, 128, 200, 255, 255, 3]] * 8, np.uint8))
        save(root / f"bgfg_depth/depth_{stem}.jpg", np.full((8, 8), 51, np.uint8))
    return root


@pytest.fixture
def by_number(tmp_path: Path) -> Path:
    root = tmp_path / "b"
    for number in ("0050", "0100"):
        save(root / f"bg/bg_{number[:3]}.jpg", np.full((8, 8, 3), int(number[:3]), np.uint8))
        save(root / f"fg_bg/img_{number}.jpg", np.full((8, 8, 3), 20, np.uint8))
        save(root / f"fg_bg_mask/img_{number}.jpg", np.full((8, 8), 250, np.uint8))
        save(root / f"fg_bg_depth/img_{number}.jpg", np.full((8, 8, 3), 102, np.uint8))
    return root


def test_nyuv2(nyu: Path, tmp_path: Path) -> None:
    summary = run("nyuv2", nyu, tmp_path / "out")
    assert str(summary) == f"{tmp_path}/out now holds 6 samples in 4 groups"
    index = read(tmp_path / "out")
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
    assert (tmp_path / "out/image/0003.jpg").read_bytes() == (nyu / "image/0003.jpg").read_bytes()
    assert split(index, val=0.4, test=0.3, seed=0, by="group").test == ("0003", "0005", "0006")


def test_nyuv2_leaves_out_frames_without_a_partner(nyu: Path, tmp_path: Path) -> None:
    (nyu / "label/0004.png").unlink()
    assert str(run("nyuv2", nyu, tmp_path / "out")).endswith(
        "5 samples in 3 groups; left out: 1 without image, depth or label"
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "split.csv is missing"),
        ("id\n0001\n", "split.csv lacks the column id or split"),
        ("id,split\n0001,dev\n", "split.csv has the part 'dev' beside train and test"),
        ("id,split\n0099,train\n", "split.csv names no frame that is there"),
    ],
)
def test_nyuv2_from_another_folder(nyu: Path, tmp_path: Path, text: str | None, what: str) -> None:
    (nyu / "split.csv").unlink() if text is None else (nyu / "split.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        run("nyuv2", nyu, tmp_path / "out")
    assert str(caught.value) == (
        f"{nyu}: is not NYU Depth V2 as expected ({what}); give the folder that holds image/NNNN.jpg, depth/NNNN.png, "
        "label/NNNN.png and split.csv (id,split)."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nyu"]


def test_nyuv2_label_that_cannot_be_read(nyu: Path, tmp_path: Path) -> None:
    (nyu / "label/0002.png").write_text("")
    with pytest.raises(DataError) as caught:
        run("nyuv2", nyu, tmp_path / "out")
    assert str(caught.value) == f"{nyu}/label/0002.png: is not a grey picture of class numbers; restore it."
    assert [path.name for path in tmp_path.iterdir()] == ["nyu"]


def test_eva4_by_name(by_name: Path, tmp_path: Path) -> None:
    (by_name / "bgfg_overlay/a.txt").write_text("stray")
    (by_name / "bgfg_depth/depth_ol_bg003fg0031_fg_003.jpg").unlink()
    assert str(run("eva4", by_name, tmp_path / "out")) == (
        f"{tmp_path}/out now holds 2 samples in 2 groups; left out: 1 not named as a quartet, 1 without depth"
    )
    index = read(tmp_path / "out")
    assert [(r.id, r.group) for r in index.samples] == [
        ("ol_bg001fg0011_fg_001", "bg_001"),
        ("ol_bg002fg0021_fg_002", "bg_002"),
    ]
    quartet = read_quartet(index, index.samples[0])
    assert quartet.depth[0, 0] == pytest.approx(0.2)
    assert quartet.mask[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    assert quartet.background is not None
    assert (index.depth.kind, index.depth.near) == ("relative", "low")


def test_eva4_by_number(by_number: Path, tmp_path: Path) -> None:
    (by_number / "fg_bg/img_0071.jpg").write_bytes((by_number / "fg_bg/img_0050.jpg").read_bytes())
    for role in ("mask", "depth"):
        name = f"fg_bg_{role}/img_0071.jpg"
        (by_number / name).write_bytes((by_number / f"fg_bg_{role}/img_0050.jpg").read_bytes())
    assert str(run("eva4", by_number, tmp_path / "out")).endswith("2 groups; left out: 1 without background")
    index = read(tmp_path / "out")
    assert [(r.id, r.group) for r in index.samples] == [("img_0050", "bg_005"), ("img_0100", "bg_010")]
    quartet = read_quartet(index, index.samples[1])
    assert quartet.depth[0, 0] == pytest.approx(0.4)
    assert quartet.background is not None
    assert quartet.background[0, 0].tolist() == pytest.approx([10, 10, 10], abs=1)


def test_eva4_leaves_out_what_is_broken_or_does_not_fit(by_name: Path, tmp_path: Path) -> None:
    (by_name / "bgfg_mask/mask_ol_bg001fg0011_fg_001.png").write_text("")
    save(by_name / "bg/bg_002.jpg", np.zeros((9, 8, 3), np.uint8))
    assert str(run("eva4", by_name, tmp_path / "out")).endswith(
        "1 samples in 1 groups; left out: 1 with a picture that cannot be read, 1 with pictures of different sizes"
    )


def test_eva4_copies_a_shared_background_once(by_name: Path, tmp_path: Path) -> None:
    for folder, prefix, suffix in (("overlay", "", "png"), ("mask", "mask_", "png"), ("depth", "depth_", "jpg")):
        path = by_name / f"bgfg_{folder}/{prefix}ol_bg001fg0011_fg_001.{suffix}"
        path.with_name(f"{prefix}ol_bg001fg0011_fg_009.{suffix}").write_bytes(path.read_bytes())
    summary = run("eva4", by_name, tmp_path / "out")
    assert (summary.samples, summary.groups) == (4, 3)
    assert len(list((tmp_path / "out/background").iterdir())) == 3


@pytest.mark.parametrize("spoil", ["bg", "bgfg_overlay"])
def test_eva4_from_another_folder(by_name: Path, tmp_path: Path, spoil: str) -> None:
    (by_name / spoil).rename(by_name / "elsewhere")
    with pytest.raises(DataError) as caught:
        run("eva4", by_name, tmp_path / "out")
    assert str(caught.value) == (
        f"{by_name}: is not a set of EVA4 quartets as expected (a folder is missing); give the folder that holds "
        "bg/ and either bgfg_overlay/, bgfg_mask/, bgfg_depth/ or fg_bg/, fg_bg_mask/, fg_bg_depth/."
    )


def test_eva4_without_a_whole_quartet(by_number: Path, tmp_path: Path) -> None:
    for path in (by_number / "fg_bg_mask").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"as expected \(it holds no whole quartet: 2 without mask\); give the folder"):
        run("eva4", by_number, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_out_that_is_there_is_not_overwritten(nyu: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run("nyuv2", nyu, tmp_path / "out")  # an empty folder is as good as none
    with pytest.raises(
        DataError, match=r"out: is there already and is not overwritten; choose another folder or remove"
    ):
        run("nyuv2", nyu, tmp_path / "out")


class TestReal:
    pytestmark = real

    def test_nyuv2(self, tmp_path: Path) -> None:
        summary = run("nyuv2", REAL / "nyuv2", tmp_path / "out")
        assert (summary.samples, summary.groups, dict(summary.left_out)) == (1449, 247, {})
        index = read(tmp_path / "out")
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

    @pytest.mark.parametrize(
        ("name", "samples", "left_out"),
        [("eva4_a", 12, {"not named as a quartet": 1, "without depth": 1}), ("eva4_b", 10, {})],
    )
    def test_eva4(self, tmp_path: Path, name: str, samples: int, left_out: dict[str, int]) -> None:
        summary = run("eva4", REAL / name, tmp_path / "out")
        assert (summary.samples, summary.groups, dict(summary.left_out)) == (samples, samples, left_out)
        index = read(tmp_path / "out")
        for record in index.samples:
            quartet = read_quartet(index, record)
            assert quartet.background is not None
            outside = cv2.dilate(quartet.mask, np.ones((9, 9), np.uint8)) == 0
            apart = np.abs(quartet.image.astype(float) - quartet.background)[outside]
            assert apart.mean() < 9  # its README: 3 to 8 grey levels of compression, so it is the right background
