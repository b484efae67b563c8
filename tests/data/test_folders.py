"""Which files of a folder are data: the same for whoever looks through folders."""

import os
import shutil
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
import pytest

from dmx.data.folders import escaped, inside, is_data, listable, walk
from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.datatools.compose.plan import find_sources
from dmx.datatools.importers.tree import Folder, open_source
from dmx.errors import DataError

LITTER = (".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "._s0.png", ".s0.png", "Icon\r")
"""Files that systems leave."""
LITTER_FOLDERS = ("__MACOSX", "@eaDir", ".git", ".ipynb_checkpoints", "$RECYCLE.BIN")


def litter(folder: Path) -> None:
    """What a folder gets that was on a Mac, on Windows and on a disk station."""
    for name in LITTER:
        (folder / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    for name in LITTER_FOLDERS:
        (folder / name).mkdir()
        (folder / name / "s0.png").write_bytes(b"\0\5\x16\7")


def without_list(folder: Path) -> Path:
    """The two quartets without `samples.csv`, each with a background of its own."""
    (folder / "samples.csv").unlink()
    for name in ("s0.png", "s1.png"):
        shutil.copy(folder / "background/b.png", folder / "background" / name)
    (folder / "background/b.png").unlink()
    return folder


def test_names_that_are_data() -> None:
    assert not any(is_data(name) for name in LITTER + LITTER_FOLDERS)
    assert all(is_data(name) for name in ("a.png", "_a.png", "Thumbs.png", "a..png", "ä b.png", "icon.png"))


def test_a_walk_sees_all_folders_in_order_and_no_litter(tmp_path: Path) -> None:
    for path in ("b.png", "a/y.png", "a/x/deep.png", "a.png", "c/1.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for folder in (tmp_path, tmp_path / "a"):
        litter(folder)
    assert list(walk(tmp_path)) == ["a.png", "b.png", "a/y.png", "a/x/deep.png", "c/1.png"]
    assert inside(tmp_path) == (["a.png", "b.png"], ["a", "c"])
    assert list(walk(tmp_path / "nowhere")) == []
    assert inside(tmp_path / "a.png") == ([], [])


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "disk/deep/a.png").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "one").symlink_to(tmp_path / "disk")
    (root / "two").symlink_to("one/deep")  # the same folder by another way, as a shared one would be
    (root / "b.png").symlink_to(tmp_path / "disk/deep/a.png")
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "itself").symlink_to(root)
    (tmp_path / "disk/deep/up").symlink_to(root)
    (root / "round.png").symlink_to("round.png")
    assert list(walk(root)) == ["b.png", "gone.png", "round.png", "one/deep/a.png", "two/a.png"]


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")  # to open it would wait for ever
    assert list(walk(tmp_path)) == []


def test_names_that_are_not_utf8() -> None:
    odd = os.fsdecode(b"a\xffb.png")
    assert not listable(odd)
    assert listable("ä.png")
    assert escaped(odd) == "a\\xffb.png"
    assert escaped("ä.png") == "ä.png"


def test_a_data_set_without_a_list_is_read_among_litter(folder: Path) -> None:
    without_list(folder)
    for role in ("image", "mask", "depth", "background"):
        litter(folder / role)
    assert [one.id for one in read(folder).samples] == ["s0", "s1"]


def test_a_data_set_of_linked_folders(folder: Path) -> None:
    without_list(folder)
    linked = folder.parent / "linked"
    linked.mkdir()
    shutil.copy(folder / "dataset.yaml", linked)
    for role in ("image", "mask", "depth", "background"):
        (linked / role).symlink_to(folder / role)
    index = read(linked)
    index.check_files()
    assert [one.image for one in index.samples] == ["image/s0.png", "image/s1.png"]


def test_arrays_of_depth_and_mask_are_found_without_a_list(folder: Path) -> None:
    before = {one.id: read_quartet(read(folder), one) for one in read(folder).samples}
    without_list(folder)
    for role in ("depth", "mask"):
        for path in list((folder / role).glob("*.png")):
            np.save(path.with_suffix(".npy"), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            path.unlink()
    (folder / "depth/s1.npy").rename(folder / "depth/s1.NPY")
    index = read(folder)
    assert [one.depth for one in index.samples] == ["depth/s0.npy", "depth/s1.NPY"]
    for record in index.samples:
        found = read_quartet(index, record)
        assert np.array_equal(found.depth, before[record.id].depth)
        assert np.array_equal(found.mask, before[record.id].mask)


def test_pictures_are_paired_in_both_forms_of_an_accent(folder: Path) -> None:
    without_list(folder)
    for role, form in (("image", "NFC"), ("mask", "NFD"), ("depth", "NFD"), ("background", "NFC")):
        (folder / role / "s0.png").rename(folder / role / normalize(form, "\u00c9.png"))
    index = read(folder)
    index.check_files()
    assert [(one.id, one.image, one.mask) for one in index.samples][1] == (
        "\u00c9",
        "image/\u00c9.png",
        "mask/E\u0301.png",
    )
    shutil.copy(folder / "mask/s1.png", folder / "mask/\u00c9.png")
    assert "\u00c9: 2 in mask/ (E\u0301.png, \u00c9.png)" in refusal(folder)


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(folder)
    return str(caught.value)


def test_two_files_of_one_stem_are_both_named(folder: Path) -> None:
    without_list(folder)
    np.save(folder / "depth/s0.npy", np.ones((6, 8)))
    assert refusal(folder) == (
        f"{folder}: pictures without their partners of equal stem; add them, take the others away, or write "
        "samples.csv:\n  s0: 2 in depth/ (s0.npy, s0.png)"
    )


def test_formats_that_nothing_reads_are_named(folder: Path) -> None:
    without_list(folder)
    (folder / "image/s0.png").rename(folder / "image/s0.HEIC")
    (folder / "depth/s1.tiff").touch()
    np.save(folder / "image/s2.npy", np.zeros((6, 8, 3), np.uint8))
    (folder / "image/notes.txt").touch()  # which nobody takes for a picture
    assert refusal(folder) == (
        f"{folder}: pictures in formats that are not read; convert them, or write samples.csv:"
        "\n  image/s0.HEIC: is HEIC, which is not read; convert it to PNG or JPEG; `heif-convert A.heic A.jpg` does "
        "it, and telephones write JPEG where their camera is set so"
        "\n  image/s2.npy: is NPY, which holds masks or depth, no photographs; convert it to PNG or JPEG"
        "\n  depth/s1.tiff: is TIFF, which is not read; convert it to PNG (8 or 16 bits), NPY or EXR"
    )


def test_folders_of_folders_are_said_with_a_way_out(folder: Path) -> None:
    without_list(folder)
    (folder / "mask/scene").mkdir()
    (folder / "mask/s1.png").rename(folder / "mask/scene/s1.png")
    assert refusal(folder) == (
        f"{folder}: pictures in folders of image/, mask/, depth/ and background/ are not paired by their names; lay "
        "them directly into these, bring them here by `dmx data import mapping`, or write samples.csv:"
        "\n  mask/scene/s1.png"
    )


def test_names_that_no_list_can_hold(folder: Path) -> None:
    without_list(folder)
    for role in ("image", "mask", "depth", "background"):
        (folder / role / "s0.png").rename(folder / role / os.fsdecode(b"s\xff.png"))
    assert refusal(folder) == (
        f"{folder}: pictures whose names are not UTF-8; rename them, or write samples.csv:"
        "\n  image/s\\xff.png\n  mask/s\\xff.png\n  depth/s\\xff.png\n  background/s\\xff.png"
    )


def test_a_list_with_a_zero_byte_in_a_path(folder: Path) -> None:
    path = folder / "samples.csv"
    path.write_text(path.read_text().replace("mask/s1", "mask/\0s1"))
    assert "line 2: the path of the mask holds a zero byte" in refusal(folder)


def test_a_list_that_names_the_home_folder(folder: Path) -> None:
    path = folder / "samples.csv"
    path.write_text(path.read_text().replace("mask/s1", "~/mask/s1"))
    assert "line 2: '~/mask/s1.png' leaves the folder of the data set; paths are relative to it" in refusal(folder)


def test_importers_see_the_same_files(rooms: DatasetIndex, tmp_path: Path) -> None:
    root = tmp_path / "source"
    (root / "bg").mkdir(parents=True)
    (root / "bg/a.png").touch()
    (root / "linked").symlink_to(rooms.root / "image")
    litter(root)
    litter(root / "bg")
    tree = Folder(root)
    assert tree.folders() == ["bg", "linked"]
    assert tree.listing("bg") == ["bg/a.png"]
    assert len(tree.listing("linked")) == 27
    assert list(tree.walk()) == ["bg/a.png", *tree.listing("linked")]
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", root, "bg")
    with open_source(Path(packed), tmp_path / "out") as members:
        assert members.folders() == ["bg"]
        assert members.listing("bg") == ["bg/a.png"]


def pictures(folder: Path, names: list[str], channels: int) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", np.full((8, 8, channels), 255, np.uint8))[1]
        (folder / name).write_bytes(data.tobytes())
    return folder


def sources(scenes: Path, figures: Path) -> list[str]:
    found = find_sources(scenes, figures, part=None, val=0, test=0, seed=0)
    return [str(one.image.relative_to(scenes)) for one in found.backgrounds]


def test_composing_sees_the_same_files(tmp_path: Path) -> None:
    scenes = pictures(tmp_path / "scenes", ["a.png", "more/b.PNG"], 3)
    figures = pictures(tmp_path / "figures", ["c.PNG"], 4)
    for folder in (scenes, figures):
        litter(folder)
    assert sources(scenes, figures) == ["a.png", "more/b.PNG"]
    (figures / "d.jpg").touch()
    with pytest.raises(DataError, match=r"holds what is no cut-outs \(RGBA, PNG\): d.jpg is no PNG; or take it out\."):
        sources(scenes, figures)
    (figures / "d.jpg").unlink()
    (scenes / "more/e.webp").touch()
    with pytest.raises(
        DataError, match=r"what is no backgrounds \(PNG or JPEG\): more/e.webp is WebP, which is not read"
    ):
        sources(scenes, figures)
    (scenes / "more/e.webp").rename(scenes / os.fsdecode(b"\xff.png"))
    with pytest.raises(DataError, match=r"a picture whose name is not UTF-8; rename it: \\xff.png"):
        sources(scenes, figures)
