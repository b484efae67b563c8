"""Mask and depth of photographs, as files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from dmx.data.decoding import colour
from dmx.data.listing import PICTURES
from dmx.data.writing import staged, write_picture
from dmx.deliver.predictor import Predictor
from dmx.errors import DataError, UserError
from dmx.experiment.trained import Trained
from dmx.quartet import DepthSpec
from dmx.tracking.panel import colours, nearness, stack

Picture = UInt8[np.ndarray, "H W 3"]
Plane = Float32[np.ndarray, "H W"]
TINT = np.array([255, 64, 64])


def predict(
    network: Trained, images: Path, backgrounds: Path | None, out: Path, progress: Callable[[int, int], None]
) -> int:
    """Write what a network says of each picture; all of it, or nothing.

    `mask/NAME.png` is the probability times 255, `depth/NAME.npy` the depth as float32 in the unit that the network
    learned, `view/NAME.png` picture, mask over it and depth side by side.

    Args:
        network: The network.
        images: A picture, or a folder of pictures.
        backgrounds: The scene without the object, one for all pictures or a folder with one of each picture's name; for
            networks that take it.
        out: A folder that is not there yet.
        progress: Told how many of how many pictures are done.

    Raises:
        UserError: There are no pictures, backgrounds are missing or not wanted, or one cannot be read.

    Returns:
        How many pictures.
    """
    paths = pictures(images)
    behind = dict(matched(network, paths, backgrounds))
    predictor = Predictor(network.model, network.size)
    with staged(out) as stage:
        (stage / "depth").mkdir()
        for done, path in enumerate(paths, start=1):
            image = colour(path, upright=True)
            background = [colour(behind[path], upright=True)] if behind else None
            mask, depth = predictor([image], background)[0]
            write_picture(stage / "mask" / f"{path.stem}.png", (mask * 255).round().astype(np.uint8))
            np.save(stage / "depth" / f"{path.stem}.npy", depth)
            write_picture(stage / "view" / f"{path.stem}.png", view(image, mask, depth, network.spec))
            progress(done, len(paths))
    return len(paths)


def pictures(images: Path) -> list[Path]:
    """The picture itself, or all in a folder, by name.

    Raises:
        DataError: There are none, or two of one name.
    """
    paths = [images] if images.is_file() else sorted(p for p in images.glob("*") if p.suffix.lower() in PICTURES)
    if not paths:
        raise DataError(f"{images}: there is no picture ({', '.join(sorted(PICTURES))}); name a picture or a folder.")
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise DataError(
                f"{path} and {stems[path.stem]} have one name, but each gives one mask; rename one of them."
            )
        stems[path.stem] = path
    return paths


def matched(network: Trained, paths: list[Path], backgrounds: Path | None) -> Iterator[tuple[Path, Path]]:
    """The background of each picture, where the network takes one.

    Raises:
        UserError: It does and they are not there, or it does not and they are.
    """
    wanted = network.model.net.needs_background
    if wanted != (backgrounds is not None):
        raise UserError(
            f"{network.run} takes the scene without the object, too; give it with --backgrounds."
            if wanted
            else f"{network.run} looks at the picture alone; leave out --backgrounds."
        )
    if backgrounds is None:
        return
    if backgrounds.is_file():
        yield from ((path, backgrounds) for path in paths)
        return
    there = {path.stem: path for path in pictures(backgrounds)}
    for path in paths:
        if path.stem not in there:
            raise DataError(f"{backgrounds}: has no picture called {path.stem}, the background of {path}.")
        yield path, there[path.stem]


def view(image: Picture, mask: Plane, depth: Plane, spec: DepthSpec) -> UInt8[np.ndarray, "height width 3"]:
    """The picture, the mask over it, and the depth from near (red) to far (blue), side by side."""
    share = 0.6 * mask[..., None]
    tinted = (image * (1 - share) + TINT * share).round().astype(np.uint8)
    low, high = np.percentile(depth, (1, 99))
    near = nearness(depth, float(low), max(float(high - low), 1e-6), spec)
    return stack([image, tinted, colours(near, np.isfinite(depth))], axis=1)
