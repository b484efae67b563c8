"""The official file of NYU Depth V2, made up in exactly its shape: axes from the other end, strings by reference."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.errors import DataError

Run = Callable[..., Summary]

N, H, W = 4, 3, 5
NAMES = ("book", "wall", "rug", "person", "door frame", "airplane")
SCENES = ("kitchen_0004", "kitchen_0004", "office_0001", "café_0002")


def image(frame: int) -> np.ndarray:
    """Each pixel tells its frame, row, column and channel."""
    rows, columns, channels = np.meshgrid(np.arange(H), np.arange(W), np.arange(3), indexing="ij")
    return (frame * 60 + rows * 15 + columns * 3 + channels).astype(np.uint8)


def depth(frame: int) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(H), np.arange(W), indexing="ij")
    return (1 + frame + rows * 0.1 + columns * 0.0107).astype(np.float32)


def label(frame: int) -> np.ndarray:
    """All classes, 0 for unlabelled, in an order of which no other axis has the same."""
    return ((np.arange(H * W).reshape(H, W) + frame) % (len(NAMES) + 1)).astype(np.uint16)


def cell(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """What MATLAB 7.3 makes of a cell array of strings: references to columns of UTF-16 units."""
    references = np.empty((1, len(texts)), h5py.ref_dtype)
    for column, text in enumerate(texts):
        units = np.array([ord(letter) for letter in text], np.uint16)[:, None]
        references[0, column] = file.create_dataset(f"#refs#/{name}{column}", data=units).ref
    file.create_dataset(name, data=references)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "nyu" / "nyu_depth_v2_labeled.mat"
    path.parent.mkdir()
    with h5py.File(path, "w", userblock_size=512) as file:  # where MATLAB writes its own header
        file["images"] = np.stack([image(frame).transpose(2, 1, 0) for frame in range(N)])
        file["depths"] = np.stack([depth(frame).T for frame in range(N)])
        file["labels"] = np.stack([label(frame).T for frame in range(N)])
        cell(file, "names", NAMES)
        cell(file, "scenes", SCENES)
        cell(file, "sceneTypes", [scene.partition("_")[0] for scene in SCENES])
    return path


def write_splits(official: Path, **parts: Any) -> Path:
    path = official.parent / "splits.mat"
    savemat(path, {name: np.array(numbers, np.uint16)[:, None] for name, numbers in parts.items()})
    return path


@pytest.mark.parametrize("as_folder", [False, True])
def test_frames(official: Path, tmp_path: Path, run: Run, as_folder: bool) -> None:
    summary = run("nyuv2", official.parent if as_folder else official)
    assert str(summary) == f"{tmp_path}/out now holds 4 samples in 3 groups"
    index = read(tmp_path / "out")
    index.check_files()
    assert index.pictures == tmp_path / "out"
    assert [(r.id, r.group, r.split) for r in index.samples] == [(f"{n + 1:04d}", SCENES[n], None) for n in range(N)]
    for frame, record in enumerate(index.samples):
        quartet = read_quartet(index, record)
        assert np.array_equal(quartet.image, image(frame))
        assert np.abs(quartet.depth - depth(frame)).max() < 0.00051
        assert quartet.valid.all()
        assert np.array_equal(quartet.mask, np.isin(label(frame), (1, 4, 6)))  # book, person, airplane
        assert np.array_equal(quartet.mask_valid, label(frame) != 0)


def test_files_are_lossless(official: Path, tmp_path: Path, run: Run) -> None:
    run("nyuv2", official)
    raw = cv2.imread(str(tmp_path / "out/depth/0002.png"), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16
    assert np.array_equal(raw, np.rint(depth(1).astype(np.float64) * 1000))
    assert np.array_equal(cv2.imread(str(tmp_path / "out/label/0002.png"), cv2.IMREAD_UNCHANGED), label(1))


def test_depth_that_is_not_known(official: Path, tmp_path: Path, run: Run) -> None:
    with h5py.File(official, "r+") as file:
        file["depths"][1, :3, 0] = (np.nan, 0, np.inf)
    run("nyuv2", official)
    index = read(tmp_path / "out")
    expected = np.ones((H, W), bool)
    expected[0, :3] = False
    assert np.array_equal(read_quartet(index, index.samples[1]).valid, expected)


def test_official_split(official: Path, tmp_path: Path, run: Run) -> None:
    write_splits(official, trainNdxs=[1, 2], testNdxs=[4, 3])
    run("nyuv2", official)
    assert [record.split for record in read(tmp_path / "out").samples] == ["train", "train", "test", "test"]


def test_split_of_other_frames(official: Path, tmp_path: Path, run: Run) -> None:
    path = write_splits(official, trainNdxs=[1, 2, 3], testNdxs=[3, 5])
    with pytest.raises(DataError) as caught:
        run("nyuv2", official)
    assert str(caught.value) == (
        f"{path}: does not split the 4 frames beside it: it puts 3 in train, 2 in test and 1 in both; put the right "
        "file there or take it away."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "no MATLAB file", "x" * 1000])
def test_split_that_is_none(official: Path, run: Run, text: str) -> None:
    (official.parent / "splits.mat").write_text(text)
    with pytest.raises(DataError) as caught:
        run("nyuv2", official)
    assert str(caught.value) == (
        f"{official.parent}/splits.mat: is not the official split (trainNdxs, testNdxs); put it right or take it away."
    )


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda file: [file.pop("labels"), file.pop("scenes")], "it lacks labels, scenes"),
        (
            lambda file: [file.pop("depths"), file.create_dataset("depths", (N, H, W), "f4")],
            "images are (4, 3, 5, 3), depths (4, 3, 5), labels (4, 5, 3), not (N, 3, W, H), (N, W, H) twice",
        ),
        (
            lambda file: [file.pop("scenes"), file.create_dataset("scenes", data=file["names"][()][:, :2])],
            "it has 4 images, but 2 scenes",
        ),
    ],
)
def test_another_hdf5_file(
    official: Path, tmp_path: Path, run: Run, spoil: Callable[[h5py.File], object], what: str
) -> None:
    with h5py.File(official, "r+") as file:
        spoil(file)
    with pytest.raises(DataError) as caught:
        run("nyuv2", official)
    assert str(caught.value) == (
        f"{official}: is not NYU Depth V2 as expected ({what}); give nyu_depth_v2_labeled.mat, or the folder that "
        "holds image/NNNN.jpg, depth/NNNN.png, label/NNNN.png and split.csv (id,split)."
    )
    assert not (tmp_path / "out").exists()


def test_another_file(official: Path, run: Run) -> None:
    official.write_text("no HDF5")
    with pytest.raises(DataError, match=r"as expected \(it is no HDF5 file\); give nyu_depth_v2_labeled.mat, or"):
        run("nyuv2", official)
