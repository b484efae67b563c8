"""Synthetic sets: true quartets, the same bytes for the same parameters, whole or not at all."""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.datatools.synth import draw_room, synth
from dmx.datatools.synth.figures import FIGURES, draw_figure, reach
from dmx.datatools.synth.render import render_object
from dmx.errors import DataError, UserError


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_there(rooms: DatasetIndex) -> None:
    assert len(rooms.samples) == 27
    groups = defaultdict(set)
    for record in rooms.samples:
        groups[record.group].add(record.background)
    assert [len(backgrounds) for backgrounds in groups.values()] == [1] * 7
    assert rooms.depth.kind == "metric"
    assert {str(path.relative_to(rooms.root)) for path in rooms.root.rglob("*.png")} == set(rooms.files())
    assert sorted(path.name for path in rooms.root.parent.iterdir()) == ["rooms"]


def test_quartets_are_true(rooms: DatasetIndex) -> None:
    """Outside the mask, grown by a pixel for the smooth edge, the image is the background; and the object is seen."""
    for record in rooms.samples:
        quartet = read_quartet(rooms, record)
        assert quartet.background is not None
        assert 0.02 <= quartet.mask.mean() <= 0.4
        assert quartet.valid.all()
        near = cv2.dilate(quartet.mask, np.ones((3, 3), np.uint8)).astype(bool)
        assert (quartet.image[~near] == quartet.background[~near]).all()
        differs = (quartet.image != quartet.background).any(axis=2)
        assert differs[quartet.mask == 1].mean() > 0.9


def test_object_is_in_front_and_depth_of_the_room_is_shared(rooms: DatasetIndex) -> None:
    groups = defaultdict(list)
    for record in rooms.samples:
        groups[record.group].append(read_quartet(rooms, record))
    compared = 0
    for one, other, *_ in (group for group in groups.values() if len(group) > 1):
        free = (one.mask == 0) & (other.mask == 0)
        assert (one.depth[free] == other.depth[free]).all()
        only = (one.mask == 1) & (other.mask == 0)
        assert (one.depth[only] <= other.depth[only]).all()
        compared += int(only.sum())
    assert compared > 100


def test_back_projected_depth_lies_on_the_room() -> None:
    """A pixel's ray times its depth is a point of the scene: on a side of the room or on a solid."""
    for seed in range(3):
        scene, view, (placed,) = draw_room(np.random.default_rng(seed), 1, 24)
        points = scene.camera.position + placed.depth[:, None] * scene.camera.rays(24)
        assert (np.abs(points[:, :2]) <= scene.half[:2] + 1e-9).all()
        gaps = [scene.half[:2] - np.abs(points[:, :2]), points[:, 2:], 2 * scene.half[2] - points[:, 2:]]
        on_side = np.hstack(gaps).min(axis=1) < 1e-9
        on_part = np.zeros(len(points), bool)
        for part in (*scene.furniture, *placed.parts):
            ahead = part.intersect(scene.camera.position, points - scene.camera.position)
            on_part |= np.abs(ahead - 1) < 1e-6
        assert (on_side | on_part).all()
        assert (placed.depth <= view.depth).all()
        assert (placed.depth[~placed.mask] == view.depth[~placed.mask]).all()


def test_objects_rest_on_what_they_stand_on() -> None:
    for seed in range(4):
        scene, _, objects = draw_room(np.random.default_rng(seed), 2, 16)
        tops = [0.0, *(float(part.centre[2] + part.size[2]) for part in scene.furniture)]
        for placed in objects:
            assert min(abs(placed.ground - top) for top in tops) < 1e-6
            _, top = reach(placed.parts)
            assert placed.ground < top < 2 * scene.half[2]


def test_every_figure_stands_on_the_ground_and_stays_within_its_reach() -> None:
    seen = set()
    for seed in range(80):
        parts = draw_figure(np.random.default_rng(seed))
        seen.add(tuple(part.shape for part in parts))
        side, top = reach(parts)
        down = np.stack([*np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101)), np.zeros((101, 101))], -1)
        below = np.array([0.013, 0.007, -50.0])
        d = down.reshape(-1, 3) - below  # from far below, nearly upwards
        t = np.stack([part.intersect(below, d) for part in parts]).min(axis=0)
        foot = below + t[np.isfinite(t), None] * d[np.isfinite(t)]
        assert -1e-6 < foot[:, 2].min() < 0.05
        assert np.hypot(foot[:, 0], foot[:, 1]).max() <= side + 1e-6
        assert foot[:, 2].max() <= top + 1e-6
    assert len(seen) >= len(FIGURES) - 3  # some are of the same shapes


def test_object_changes_only_rays_that_meet_it() -> None:
    scene, view, (placed,) = draw_room(np.random.default_rng(5), 1, 16)
    colour = render_object(scene, view, placed, 16)
    changed = (colour != view.colour).any(axis=1)
    assert 0.01 < changed.mean() < 0.5


@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_same_seed_same_bytes_with_one_and_two_workers(tmp_path: Path, kind: str) -> None:
    told: list[tuple[int, int]] = []
    for name, workers in (("one", 1), ("two", 2)):
        synth(
            tmp_path / name,
            count=10,
            size=16,
            seed=3,
            kind=kind,  # type: ignore[arg-type]
            per_room=3,
            workers=workers,
            progress=lambda done, total: told.append((done, total)),
        )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)] * 2
    synth(tmp_path / "more", count=12, size=16, seed=3, kind=kind, per_room=3, workers=1)  # type: ignore[arg-type]
    more = contents(tmp_path / "more")
    assert all(more[path] == data for path, data in contents(tmp_path / "one").items() if path.endswith("png"))
    synth(tmp_path / "other", count=10, size=16, seed=4, kind=kind, per_room=3, workers=1)  # type: ignore[arg-type]
    assert contents(tmp_path / "other")["image/000000.png"] != more["image/000000.png"]


def test_relative_depth_is_metric_depth_mapped_to_one(tmp_path: Path) -> None:
    found = []
    for kind in ("metric", "relative"):
        synth(tmp_path / kind, count=2, size=16, seed=0, kind=kind, workers=1)  # type: ignore[arg-type]
        index = read(tmp_path / kind)
        found.append(read_quartet(index, index.samples[1]).depth)
    assert index.depth.kind == "relative"
    np.testing.assert_allclose(found[1], (found[0] - 0.3) / (12.0 - 0.3), atol=0.5 / 255 + 1e-4)


def test_the_same_set_again_is_left_alone_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    assert not synth(out, count=2, size=8, seed=0, workers=1).existed
    before = contents(out)
    stamp = (out / "samples.csv").stat().st_mtime_ns
    again = synth(out, count=2, size=8, seed=0, workers=1)
    assert again.existed
    assert str(again) == f"{out} holds already 2 samples in 1 groups"
    with pytest.raises(DataError) as caught:
        synth(out, count=2, size=8, seed=1, workers=1)
    assert str(caught.value) == (
        f"{out}: is there already and is not overwritten; choose another folder or remove it yourself."
    )
    assert contents(out) == before
    assert (out / "samples.csv").stat().st_mtime_ns == stamp


def test_nothing_is_left_where_writing_was_broken_off(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synth(tmp_path / "set", count=8, size=8, seed=0, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "least"), [("count", 1), ("size", 8), ("per_room", 1), ("seed", 0)])
def test_numbers_that_are_too_small(tmp_path: Path, name: str, least: int) -> None:
    numbers = {"count": 2, "size": 8, "per_room": 1, "seed": 0} | {name: least - 1}
    with pytest.raises(UserError) as caught:
        synth(tmp_path / "set", **numbers)
    assert str(caught.value) == f"`{name}` must be at least {least}, but got {least - 1}; raise it."
    assert list(tmp_path.iterdir()) == []
