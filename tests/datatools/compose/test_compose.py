"""Composing whole sets: parts, depth, the same bytes however they are made."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.datatools.check import check
from dmx.datatools.compose import Recipe, Wanted, compose
from dmx.datatools.compose.plan import Background, Sources, combination, find_sources, plan_chunks
from dmx.errors import DataError, UserError


def recipe(**changes: Any) -> Recipe:
    given = {"size": (40, 40), "seed": 0, "fov": 45.0, "object_height": (1.5, 1.9), "distance": (1.5, 6.0)}
    return Recipe(**(given | {"form": "png", "depth_model": None, "near": "high"} | changes))


def wanted(count: int | None = 24, **changes: Any) -> Wanted:
    return Wanted(**({"count": count, "places": 3, "flip": True, "val": 0.2, "test": 0.2} | changes))


def make(
    backgrounds: Path, cutouts: Path, out: Path, workers: int = 1, part: Any = None, how: Any = None, **changes: Any
) -> Summary:
    many = wanted(**changes)
    how = how or recipe()
    sources = find_sources(backgrounds, cutouts, part=part, val=many.val, test=many.test, seed=how.seed)
    return compose(sources, out, how, many, workers=workers)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_scenes_with_depth(rooms_with_depth: Path, cutouts: Path, tmp_path: Path) -> None:
    summary = make(rooms_with_depth, cutouts, tmp_path / "out", part="train")
    assert str(summary) == f"{tmp_path / 'out'} now holds 24 samples in 3 groups"
    index = read(tmp_path / "out")
    assert [index.samples.column("split").count(part) for part in ("train", "val", "test")] == [14, 5, 5]
    for record in index.samples:
        quartet = read_quartet(index, record)
        on = quartet.mask == 1
        distances = set(quartet.depth[on])
        assert len(distances) == 1
        assert 1.5 <= distances.pop() <= 6
        assert quartet.valid[on].all()
        assert on.mean() >= 0.01
        assert record.background is not None
        number = int(Path(record.background).stem)
        scene = cv2.imread(str(rooms_with_depth / f"image/{number}.png"))[..., ::-1]
        raw = cv2.imread(str(rooms_with_depth / f"depth/{number}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(quartet.background, scene)
        np.testing.assert_array_equal(quartet.valid[~on], raw[~on] > 0)
        known = ~on & quartet.valid
        np.testing.assert_array_equal(quartet.depth[known], (raw[known] * np.float64(0.001)).astype(np.float32))
        assert not on[(raw > 0) & (raw * np.float64(0.001) < quartet.depth[on][0] - 1e-6)].any()
    assert [one for one in check(index, workers=1).findings if one.severity == "error"] == []


def test_scenes_without_depth(plain: Path, cutouts: Path, tmp_path: Path) -> None:
    make(plain, cutouts, tmp_path / "out", how=recipe(size=(24, 32), form="jpg"))
    index = read(tmp_path / "out")
    assert index.declaration.depth is None
    assert not (tmp_path / "out" / "depth").exists()
    for record in index.samples:
        quartet = read_quartet(index, record)
        assert quartet.image.shape == (24, 32, 3)
        rows, columns = np.nonzero(quartet.mask)
        assert quartet.mask.mean() >= 0.01
        assert 6 <= rows.max() - rows.min() <= 19  # 0.3 to 0.75 of 24 rows, wholly in the frame
        assert 1.5 <= (rows.max() - rows.min() + 1) / (columns.max() - columns.min() + 1) <= 3.5  # 30 / 12
    used = {record.background for record in index.samples}
    assert used == {f"background/{path.name}" for path in (tmp_path / "out" / "background").iterdir()}
    assert not list(tmp_path.glob(".*"))


def test_the_same_bytes_for_any_number_of_workers_and_again_nothing_is_done(
    rooms_with_depth: Path, cutouts: Path, tmp_path: Path
) -> None:
    for workers in (1, 2):
        make(rooms_with_depth, cutouts, tmp_path / str(workers) / "out", workers, count=70, places=9)
    one = contents(tmp_path / "1" / "out")
    assert one == contents(tmp_path / "2" / "out")
    again = make(rooms_with_depth, cutouts, tmp_path / "1" / "out", count=70, places=9)
    assert str(again) == f"{tmp_path / '1' / 'out'} holds already 70 samples in 6 groups"
    with pytest.raises(DataError, match="is there already and is not overwritten"):
        make(rooms_with_depth, cutouts, tmp_path / "1" / "out", count=71, places=9)
    assert contents(tmp_path / "1" / "out") == one


@pytest.mark.parametrize("lost", ["image", "depth", "background"])
def test_a_picture_that_a_loss_of_power_emptied_is_made_again(
    rooms_with_depth: Path, cutouts: Path, tmp_path: Path, lost: str
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    make(rooms_with_depth, cutouts, tmp_path / "whole" / "out", count=40)
    many = wanted(40)
    sources = find_sources(rooms_with_depth, cutouts, part=None, val=many.val, test=many.test, seed=0)
    with pytest.raises(KeyboardInterrupt):
        compose(sources, tmp_path / "out", recipe(), many, workers=1, progress=stop)
    victim = next((tmp_path / ".out.partial" / lost).iterdir())
    victim.write_bytes(b"")
    compose(sources, tmp_path / "out", recipe(), many, workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")


def test_another_seed_gives_other_pictures(plain: Path, cutouts: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        make(plain, cutouts, tmp_path / str(seed), how=recipe(seed=seed))
    zero, one = contents(tmp_path / "0"), contents(tmp_path / "1")
    assert sum(zero[name] == one.get(name) for name in zero if name.startswith("image")) == 0


def sources_of(backgrounds: int, cutouts: int, parts: Any) -> Sources:
    scenes = tuple(Background(Path(f"{i}.png"), None, str(i)) for i in range(backgrounds))
    return Sources(scenes, tuple(Path(f"{i}.png") for i in range(cutouts)), None, parts)


def test_a_hundred_by_a_hundred_by_twenty_places_and_flips_are_400_000() -> None:
    everything = sources_of(100, 100, {"train": (tuple(range(100)), tuple(range(100)))})
    all_of_them = Wanted(None, 20, True, 0, 0)
    total, jobs = plan_chunks(everything, all_of_them, 0)
    assert total == 400_000
    assert [number for job in jobs for number in job.numbers] == list(range(400_000))
    last = combination(everything, all_of_them, "train", 399_999)
    assert (last.background, last.cutout, last.place, last.flip) == (99, 99, 19, True)
    few = sources_of(3, 4, {"train": (tuple(range(3)), tuple(range(4)))})
    assert len({combination(few, all_of_them, "train", number) for number in range(3 * 4 * 20 * 2)}) == 480


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Thirty backgrounds and thirty cut-outs."""
    root = tmp_path_factory.mktemp("many")
    for folder, channels in (("bg", 3), ("fg", 4)):
        (root / folder).mkdir()
        for i in range(30):
            cv2.imwrite(str(root / folder / f"{i:02d}.png"), np.full((4, 4, channels), 255, np.uint8))
    return root / "bg", root / "fg"


@settings(max_examples=25)
@given(seed=st.integers(0, 2**63), val=st.floats(0, 0.4), test=st.floats(0, 0.4), count=st.integers(10, 300))
def test_no_background_and_no_cutout_serves_two_parts(
    many: tuple[Path, Path], seed: int, val: float, test: float, count: int
) -> None:
    sources = find_sources(*many, part=None, val=val, test=test, seed=seed)
    how_many = Wanted(count, 100, False, val, test)
    total, jobs = plan_chunks(sources, how_many, seed)
    assert total == count
    combinations = [combination(sources, how_many, job.part, number) for job in jobs for number in job.numbers]
    assert len(set(combinations)) == count
    for name in ("background", "cutout"):
        serves = [{getattr(one, name) for one in combinations if one.part == part} for part in sources.parts]
        assert sum(map(len, serves)) == len(set().union(*serves))
        assert all(serves)


def test_groups_and_the_official_split_are_kept(rooms_with_depth: Path, cutouts: Path) -> None:
    sources = find_sources(rooms_with_depth, cutouts, part=None, val=0.2, test=0.2, seed=3)
    assert sources.parts["test"][0] == (9, 10, 11)
    groups = [{sources.backgrounds[row].group for row in rows} for rows, _ in sources.parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 2}, "`count` 2 asks for 0 samples of train, but there are 3 parts to fill; raise `count` or lower"),
        (
            {"count": 999},
            r"`count` 999 asks for 599 samples of train, .* 144 combinations \(6 backgrounds x 4 cut-outs x 3 ",
        ),
        ({"places": 0}, "`places` must be at least 1, but got 0; raise it"),
        ({"how": recipe(seed=0, size=(4, 40))}, "`size` must be at least 8, but got 4"),
        ({"how": recipe(fov=180)}, r"`fov` must be in \[1, 180\) degrees, but got 180"),
        ({"how": recipe(distance=(3, 2))}, "`distance` must be two lengths in metres, .* but got 3 and 2; mend them"),
        ({"how": recipe(object_height=(0, 2))}, "`object_height` must be two lengths in metres, .* but got 0 and 2"),
    ],
)
def test_wrong_numbers_are_named(
    plain: Path, cutouts: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make(plain, cutouts, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_an_object_without_a_place_is_told(rooms_with_depth: Path, cutouts: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither it nor 50 others find a place .* widen `distance` \[7.4, 7.5\]"):
        make(rooms_with_depth, cutouts, tmp_path / "out", how=recipe(distance=(7.4, 7.5)))


def test_folders_that_do_not_serve_are_named(
    plain: Path, cutouts: Path, rooms_with_depth: Path, tmp_path: Path
) -> None:
    (empty := tmp_path / "empty").mkdir()

    def expect(message: str, backgrounds: Path = plain, figures: Path = cutouts, part: Any = None) -> None:
        with pytest.raises(DataError, match=message):
            find_sources(backgrounds, figures, part=part, val=0.2, test=0.2, seed=0)

    expect(rf"{re.escape(str(empty))}: holds no backgrounds \(PNG or JPEG\)", empty)
    expect(r"nowhere: no such folder of cut-outs \(RGBA, PNG\)", figures=tmp_path / "nowhere")
    expect("is a plain folder without parts, but `part` is train; leave it out", part="train")
    expect("has no sample whose official split is val", rooms_with_depth, part="val")
    cv2.imwrite(str(cutouts / "rgb.png"), np.zeros((4, 4, 3), np.uint8))
    expect(r"rgb.png: is no cut-out: it holds uint8\[4, 4, 3\] where four 8-bit channels")
    cv2.imwrite(str(cutouts / "rgb.png"), np.zeros((4, 4, 4), np.uint8))
    expect("rgb.png: nothing in it is more than half opaque")
    (cutouts / "rgb.png").write_bytes(b"x")
    expect("rgb.png: is of a format that is not known; convert it to PNG or JPEG; or leave it out")
    for path in [*cutouts.glob("fg[2-9].png"), cutouts / "rgb.png"]:
        path.unlink()
    expect("2 samples to divide, but test, val and train need one each; add data")
