"""EVA4 quartets in their three shapes, made up and real, as folders and inside zip files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from dmx.cli.data import data
from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.datatools.importers.eva4 import eva4
from dmx.errors import DataError

Run = Callable[..., Summary]
Save = Callable[[Path, np.ndarray], None]
Pack = Callable[..., Path]

FORMS = (
    "give the folder or zip file that holds bg/ and bgfg_overlay/, bgfg_mask/, bgfg_depth/; or fg_bg/, fg_bg_mask/, "
    "fg_bg_depth/; or bg_fg/, mask/, depth/."
)


def opened(out: Path) -> DatasetIndex:
    index = read(out)
    index.check_files()
    return index


def test_by_name(by_name: Path, tmp_path: Path, run: Run) -> None:
    (by_name / "bgfg_overlay/a.txt").write_text("stray")
    (by_name / "bgfg_overlay/.DS_Store").write_text("hidden")
    (by_name / "bgfg_depth/depth_ol_bg003fg0031_fg_003.jpg").unlink()
    assert str(run("eva4", by_name)) == (
        f"{tmp_path}/out now holds 2 samples in 2 groups; left out: 1 not named as a quartet (bgfg_overlay/a.txt), "
        "1 without depth (bgfg_overlay/ol_bg003fg0031_fg_003.png)"
    )
    index = opened(tmp_path / "out")
    assert [(r.id, r.group) for r in index.samples] == [
        ("ol_bg001fg0011_fg_001", "bg_001"),
        ("ol_bg002fg0021_fg_002", "bg_002"),
    ]
    quartet = read_quartet(index, index.samples[0])
    assert quartet.depth[0, 0] == pytest.approx(0.2)
    assert quartet.mask[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    assert quartet.background is not None
    assert (index.depth.kind, index.depth.near) == ("relative", "low")


def test_by_number(by_number: Path, tmp_path: Path, run: Run) -> None:
    for role in ("", "_mask", "_depth"):
        shutil.copy(by_number / f"fg_bg{role}/img_0050.jpg", by_number / f"fg_bg{role}/img_0071.jpg")
    assert str(run("eva4", by_number)).endswith("2 groups; left out: 1 without background (fg_bg/img_0071.jpg)")
    index = opened(tmp_path / "out")
    assert [(r.id, r.group) for r in index.samples] == [("img_0050", "bg_005"), ("img_0100", "bg_010")]
    quartet = read_quartet(index, index.samples[1])
    assert quartet.depth[0, 0] == pytest.approx(0.4)
    assert quartet.background is not None
    assert quartet.background[0, 0].tolist() == pytest.approx([10, 10, 10], abs=1)


@pytest.mark.parametrize(
    ("shape", "path", "image"),
    [
        ("by_name", "bg/bg_002.jpg", "bgfg_overlay/ol_bg002fg0021_fg_002.png"),
        ("by_number", "fg_bg_mask/img_0100.jpg", "fg_bg/img_0100.jpg"),
    ],
)
def test_of_two_pictures_of_one_stem_none_is_taken(
    shape: str, path: str, image: str, run: Run, save: Save, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(shape)
    save((root / path).with_suffix(".png"), np.zeros((8, 8, 3), np.uint8))
    (root / path).with_suffix(".txt").write_text("no picture")
    (root / "bg/bg_005.txt").write_text("beside a whole one")
    summary = run("eva4", root)
    role = "background" if path.startswith("bg/") else "mask"
    assert dict(summary.left_out) == {
        f"with the stem of another ({path} and {path[:-3]}png)": 1,
        f"without {role} ({image})": 1,
    }


def test_only_a_list_is_written(by_name: Path, tmp_path: Path, run: Run) -> None:
    run("eva4", by_name)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.yaml", "samples.csv"]
    assert yaml.safe_load((tmp_path / "out/dataset.yaml").read_text())["pictures"] == str(by_name)


def test_a_source_given_from_here_is_found_from_everywhere(
    by_name: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("eva4", Path("a"))
    monkeypatch.chdir("/")
    opened(tmp_path / "out")


def test_copied_pictures_are_the_same_bytes_and_need_no_source(by_name: Path, tmp_path: Path, run: Run) -> None:
    (by_name / "bgfg_overlay/a.txt").write_text("stray")
    mask = "bgfg_mask/mask_ol_bg001fg0011_fg_001.png"
    expected = (by_name / mask).read_bytes()
    run("eva4", by_name, copy=True)
    shutil.rmtree(by_name)
    index = opened(tmp_path / "out")
    assert index.declaration.pictures is None
    assert (tmp_path / "out" / mask).read_bytes() == expected
    assert len(index.files()) == sum(path.is_file() for path in (tmp_path / "out").rglob("*")) - 2
    assert read_quartet(index, index.samples[2]).mask.any()


def test_by_command(by_number: Path, tmp_path: Path) -> None:
    for option, there in (((), False), (("--copy",), True)):
        out = tmp_path / f"out{there}"
        result = CliRunner().invoke(data, ["import", "eva4", str(by_number), str(out), *option])
        assert (result.exit_code, result.stdout) == (0, f"{out} now holds 2 samples in 2 groups\n")
        assert (out / "fg_bg/img_0050.jpg").is_file() == there


def test_progress_reaches_the_end(flat: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    eva4(flat, tmp_path / "out", lambda done, total: told.append((done, total)), True)
    assert told == [(39, 39), (39, 39)]  # looked at, copied; 256 at once


def test_a_shared_background_is_copied_once(by_name: Path, tmp_path: Path, run: Run) -> None:
    for folder, prefix, suffix in (("overlay", "", "png"), ("mask", "mask_", "png"), ("depth", "depth_", "jpg")):
        path = by_name / f"bgfg_{folder}/{prefix}ol_bg001fg0011_fg_001.{suffix}"
        shutil.copy(path, path.with_name(f"{prefix}ol_bg001fg0011_fg_009.{suffix}"))
    summary = run("eva4", by_name, copy=True)
    assert (summary.samples, summary.groups) == (4, 3)
    assert len(list((tmp_path / "out/bg").iterdir())) == 3


@pytest.mark.parametrize("shape", ["by_name", "by_number", "flat"])
@pytest.mark.parametrize("prefix", ["", "some/data/"])
def test_zip_gives_the_same_as_the_folder(
    shape: str, prefix: str, tmp_path: Path, run: Run, pack: Pack, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(shape)
    (folder / "notes.txt").write_text("not of a quartet")
    path = pack(folder, tmp_path / "set.zip", prefix)
    run("eva4", folder)
    expected = opened(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "folder")
    summary = run("eva4", path)
    expected = opened(tmp_path / "folder")
    index = opened(tmp_path / "out")
    path.unlink()
    assert index.declaration.pictures is None
    assert (summary.samples, summary.left_out) == (len(expected.samples), {})
    for ours, theirs in zip(index.samples, expected.samples, strict=True):
        assert ours.paths() == {role: prefix + path for role, path in theirs.paths().items()}
        mine, other = read_quartet(index, ours), read_quartet(expected, theirs)
        assert (mine.id, mine.group) == (other.id, other.group)
        assert np.array_equal(mine.image, other.image)
        assert np.array_equal(mine.depth, other.depth)
    assert not (tmp_path / "out" / prefix / "notes.txt").exists()


def test_leaves_out_what_is_broken_or_does_not_fit(by_name: Path, run: Run, save: Save) -> None:
    (by_name / "bgfg_mask/mask_ol_bg001fg0011_fg_001.png").write_text("")
    save(by_name / "bg/bg_002.jpg", np.zeros((9, 8, 3), np.uint8))
    assert str(run("eva4", by_name)).endswith(
        "1 samples in 1 groups; left out: 1 with a picture that cannot be read "
        "(bgfg_mask/mask_ol_bg001fg0011_fg_001.png), "
        "1 with pictures of different sizes (bgfg_overlay/ol_bg002fg0021_fg_002.png)"
    )


def test_names_the_first_of_many(by_number: Path, run: Run) -> None:
    for number in range(10, 23):
        shutil.copy(by_number / "fg_bg/img_0050.jpg", by_number / f"fg_bg/img_0{number}0.jpg")
    (by_number / "fg_bg_mask/img_0100.jpg").unlink()
    ten = ", ".join(f"fg_bg/img_0{number}0.jpg" for number in range(10, 20))
    assert str(run("eva4", by_number)).endswith(f"1 groups; left out: 13 without mask ({ten}, and 3 more)")


@pytest.mark.parametrize("spoil", ["bg", "bgfg_overlay"])
def test_another_folder(by_name: Path, spoil: str, run: Run, pack: Pack, tmp_path: Path) -> None:
    (by_name / spoil).rename(by_name / "elsewhere")
    for source in (by_name, pack(by_name, tmp_path / "a.zip")):
        with pytest.raises(DataError) as caught:
            run("eva4", source)
        assert str(caught.value) == (
            f"{source}: is not a set of EVA4 quartets as expected (a folder is missing); " + FORMS
        )


def test_without_a_whole_quartet(by_number: Path, tmp_path: Path, run: Run) -> None:
    for path in (by_number / "fg_bg_mask").iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        run("eva4", by_number)
    assert str(caught.value) == (
        f"{by_number}: is not a set of EVA4 quartets as expected (it holds no whole sample: 2 without mask "
        f"(fg_bg/img_0050.jpg, fg_bg/img_0100.jpg)); {FORMS}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_out_that_is_there_is_not_overwritten(by_name: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").mkdir()
    run("eva4", by_name)  # an empty folder is as good as none
    with pytest.raises(
        DataError, match=r"out: is there already and is not overwritten; choose another folder or remove"
    ):
        run("eva4", by_name)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "samples", "left_out"),
    [
        (
            "eva4_a",
            12,
            {
                "not named as a quartet (bgfg_overlay/a.txt)": 1,
                "without depth (bgfg_overlay/ol_bg013fg0131_fg_013.png)": 1,
            },
        ),
        ("eva4_b", 10, {}),
    ],
)
def test_real(
    tmp_path: Path, name: str, samples: int, left_out: dict[str, int], real_data: Path, run: Run, pack: Pack
) -> None:
    summary = run("eva4", pack(real_data / name, tmp_path / "real.zip", "x/"))
    assert (summary.samples, sum(summary.left_out.values())) == (samples, len(left_out))
    shutil.rmtree(tmp_path / "out")
    summary = run("eva4", real_data / name)
    assert (summary.samples, summary.groups, dict(summary.left_out)) == (samples, samples, left_out)
    index = opened(tmp_path / "out")
    for record in index.samples:
        quartet = read_quartet(index, record)
        assert quartet.background is not None
        outside = cv2.dilate(quartet.mask, np.ones((9, 9), np.uint8)) == 0
        apart = np.abs(quartet.image.astype(float) - quartet.background)[outside]
        assert apart.mean() < 9  # its README: 3 to 8 grey levels of compression, so it is the right background
