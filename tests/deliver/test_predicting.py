"""What the networks of a prediction give: means, spreads, mirror images, tiles; and the forms of depth."""

import math
import threading
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmx.data.exr import exr
from dmx.deliver.ahead import ahead
from dmx.deliver.depth_files import point_cloud, write_depth
from dmx.deliver.ensemble import Networks
from dmx.deliver.outputs import view
from dmx.deliver.tiles import slope, starts, tiled
from dmx.quartet import DepthSpec, Prediction
from dmx.tracking.panel import BAR, GAP, SCALE

METRES, RELATIVE = DepthSpec("metric", 0.5, 10.0), DepthSpec("relative", 0.0, 1.0)


class Rule(nn.Module):
    """A network whose logits are `mask` and whose depth is `depth`, of the picture in [0, 1]."""

    def __init__(self, mask, depth):
        super().__init__()
        self.mask, self.depth = mask, depth
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor, background: Tensor | None) -> Prediction:
        seen = image if background is None else image - background
        return Prediction(self.mask(seen), self.depth(seen))


def constant(value: float):
    return lambda image: torch.full_like(image[:, :1], value)


def ramp(image: Tensor) -> Tensor:
    """0, 1, 2, ... from left to right, whatever is in the picture."""
    return torch.arange(image.shape[3], dtype=torch.float32).expand_as(image[:, :1])


def red(image: Tensor) -> Tensor:
    return image[:, :1]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_ensemble_is_the_mean_of_probabilities_and_of_depths() -> None:
    logits = [math.log(p / (1 - p)) for p in (0.2, 0.4, 0.9)]
    members = [Rule(constant(z), constant(d)) for z, d in zip(logits, (1.0, 2.0, 6.0), strict=True)]
    maps = Networks(members)([picture(2, 3)], None)[0]
    assert maps.mask == pytest.approx(np.full((2, 3), 0.5))  # (0.2 + 0.4 + 0.9) / 3
    assert maps.mask_spread == pytest.approx(np.full((2, 3), math.sqrt((0.09 + 0.01 + 0.16) / 3)))
    assert maps.depth == pytest.approx(np.full((2, 3), 3.0))
    assert maps.depth_spread == pytest.approx(np.full((2, 3), math.sqrt((4 + 1 + 9) / 3)))


def test_one_network_has_no_spread() -> None:
    maps = Networks([Rule(red, ramp)])([picture(2, 3)], None)[0]
    assert not maps.mask_spread.any()
    assert not maps.depth_spread.any()


def test_the_mirror_image_is_turned_back() -> None:
    """Depth by place has the mean of both ends everywhere; a mask by colour is as it was."""
    image = picture(2, 4)
    maps = Networks([Rule(red, ramp)], flip=True)([image], None)[0]
    assert maps.depth.tolist() == [[1.5] * 4] * 2  # (0 + 3) / 2, (1 + 2) / 2, ...
    assert maps.depth_spread.tolist() == [[1.5, 0.5, 0.5, 1.5]] * 2  # half of 3 - 0, of 2 - 1, ...
    assert maps.mask == pytest.approx(1 / (1 + np.exp(-(image[..., 0] / 255))), rel=1e-6)
    assert maps.mask_spread.max() == 0


def test_the_background_is_mirrored_with_the_picture() -> None:
    image = picture(3, 5)
    maps = Networks([Rule(red, red)], flip=True)([image], [image // 2])[0]
    assert maps.depth == pytest.approx((image[..., 0] / 255 - image[..., 0] // 2 / 255), abs=1e-6)


def test_pictures_of_a_batch_keep_their_order() -> None:
    images = [np.full((2, 2, 3), value, np.uint8) for value in (0, 51, 255)]
    found = Networks([Rule(red, red)])(images, None)
    assert [maps.depth[0, 0] for maps in found] == pytest.approx([0.0, 0.2, 1.0])


@pytest.mark.parametrize("sides", [(37, 53), (16, 16), (5, 40), (16, 17)], ids=str)
def test_a_network_of_the_pixel_alone_is_the_same_in_tiles(sides: tuple[int, int]) -> None:
    members = [Rule(red, red), Rule(lambda x: -red(x), lambda x: 3 * red(x))]
    image = picture(*sides)
    whole = Networks(members, flip=True)([image], [image // 3])[0]
    in_tiles = tiled(Networks(members, flip=True), image, image // 3, (16, 12), batch=3)
    for what in ("mask", "depth", "mask_spread", "depth_spread"):
        assert getattr(in_tiles, what) == pytest.approx(getattr(whole, what), abs=1e-5)


def test_a_network_that_sees_its_place_leaves_no_seam() -> None:
    """Each tile says 0 to 15; what is blended never jumps by more than two such steps, where tiles put side by side
    jump by 15."""
    found = tiled(Networks([Rule(red, ramp)]), picture(16, 100), None, (16, 16), batch=4).depth
    assert np.abs(np.diff(found, axis=1)).max() < 2


def test_tiles_cover_a_side_and_their_weights_fall_off_linearly() -> None:
    for length in range(16, 200):
        first = starts(length, 16)
        assert (first[0], first[-1]) == (0, length - 16)
        assert all(1 <= second - one <= 9 for one, second in pairwise(first))
    assert slope(5).tolist() == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2])


def test_depth_as_png_is_millimetres_or_a_share_and_ends_where_16_bits_end(tmp_path: Path) -> None:
    depth = np.array([[1.2344, 65.535], [70.0, -1.0]], np.float32)
    write_depth(tmp_path / "a.png", depth, "png16", "metric", picture(2, 2), 50)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16
    assert read.tolist() == [[1234, 65535], [65535, 0]]
    write_depth(tmp_path / "b.png", np.array([[0.5, 1.0]], np.float32), "png16", "relative", picture(1, 2), 50)
    assert cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED).tolist() == [[32768, 65535]]


def test_depth_as_exr_is_what_data_sets_read(tmp_path: Path) -> None:
    depth = np.random.default_rng(0).random((5, 7), np.float32)
    write_depth(tmp_path / "a.exr", depth, "exr", "metric", picture(5, 7), 50)
    assert np.array_equal(exr(tmp_path / "a.exr", "depth", None), depth)


def test_a_cloud_of_points_is_read_back() -> None:
    """With 90 degrees along the shorter side of 2 pixels, f is 1."""
    image = picture(2, 4)
    depth = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    head, body = point_cloud(depth, image, 90.0).split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 8"]
    letters = {"float": "<f4", "uchar": "u1"}
    form = [(name, letters[kind]) for _, kind, name in (line.split() for line in lines[3:])]
    points = np.frombuffer(body, form)
    assert [name for name, _ in form] == ["x", "y", "z", "red", "green", "blue"]
    assert points["z"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert points["x"].tolist() == pytest.approx([-1.5, -1, 1.5, 6, -7.5, -3, 3.5, 12])  # -1.5, -0.5, 0.5, 1.5 times z
    assert points["y"].tolist() == pytest.approx([-0.5, -1, -1.5, -2, 2.5, 3, 3.5, 4])
    assert np.array_equal(np.stack([points[c] for c in ("red", "green", "blue")], -1), image.reshape(-1, 3))


def test_threads_work_ahead_in_order_and_within_bounds() -> None:
    begun: list[int] = []
    for taken, number in enumerate(ahead(range(50), lambda n: begun.append(n) or n, threads=3, room=5), start=1):
        assert number == taken - 1
        assert len(begun) <= taken + 5
    assert sorted(begun) == list(range(50))


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    results = ahead(range(50), lambda number: 1 // (number - 3), threads=2, room=4)
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_the_view_of_a_large_picture_is_shrunk() -> None:
    plane = np.ones((600, 4096), np.float32)
    assert view(picture(600, 4096), plane, plane, METRES).shape == (150, 3 * 1024 + 8 + GAP + SCALE, 3)
    assert view(picture(60, 80), plane[:60, :80], plane[:60, :80], METRES).shape == (60, 3 * 80 + 8 + GAP + SCALE, 3)


@pytest.mark.parametrize("spec", [METRES, DepthSpec("relative", 0.0, 1.0, "high")])
def test_the_view_ends_with_the_scale_of_its_depth(spec: DepthSpec) -> None:
    """The bar has the colours of the plane beside it, the greatest depth at the top, and text at both ends."""
    depth = np.linspace(4, 2, 101, dtype=np.float32)[:, None].repeat(50, axis=1)
    drawn = view(picture(101, 50), np.zeros_like(depth), depth, spec)
    plane, bar = drawn[:, -SCALE - GAP - 50 : -SCALE - GAP], drawn[:, -SCALE:]
    for row in (0, 50, 100):
        assert np.array_equal(plane[row, 25], bar[row, BAR // 2])
    text = (bar[:, BAR + 4 :] < 128).any(axis=(1, 2))
    assert text[:20].any()
    assert text[-20:].any()
    assert not text[20:-20].any()
    farther = view(picture(101, 50), np.zeros_like(depth), 2 * depth, spec)
    assert np.array_equal(farther[:, :-SCALE], drawn[:, :-SCALE])  # only its scale tells the two apart
    assert not np.array_equal(farther[:, -SCALE:], drawn[:, -SCALE:])
