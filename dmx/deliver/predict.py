"""Mask and depth of photographs, as files."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from dmx.data.decoding import colour
from dmx.data.folders import by_stem, escaped, walk
from dmx.data.formats import PHOTOGRAPHS, why_not
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
) -> tuple[int, list[str]]:
    """Write what a network says of each picture; all of it, or nothing.

    NAME is that of the picture, with the folders between it and `images`. `mask/NAME.png` is the probability times
    255, `depth/NAME.npy` the depth as float32 in the unit that the network learned, `view/NAME.png` picture, mask over
    it and depth side by side.

    Args:
        network: The network.
        images: A picture, or a folder of pictures.
        backgrounds: The scene without the object, one for all pictures or a folder with one of each picture's name; for
            networks that take it.
        out: A folder that is not there yet.
        progress: Called with how many of how many pictures are done.

    Raises:
        UserError: There are no pictures, backgrounds are missing or not wanted, or one cannot be read.

    Returns:
        How many pictures, and which files were left out, each with the reason.
    """
    paths, left_out = pictures(images)
    behind = dict(matched(network, paths, backgrounds))
    predictor = Predictor(network.model, network.size)
    with staged(out) as stage:
        for done, (name, path) in enumerate(paths.items(), start=1):
            image = colour(path, upright=True)
            background = [colour(behind[name], upright=True)] if behind else None
            mask, depth = predictor([image], background)[0]
            write_picture(stage / "mask" / f"{name}.png", (mask * 255).round().astype(np.uint8))
            (stage / "depth" / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(stage / "depth" / f"{name}.npy", depth)
            write_picture(stage / "view" / f"{name}.png", view(image, mask, depth, network.spec))
            progress(done, len(paths))
    return len(paths), left_out


def pictures(images: Path) -> tuple[dict[str, Path], list[str]]:
    """The picture itself, or all in a folder and in its folders, by name; and what was left out, and why.

    Raises:
        DataError: There are none, or two of one name.
    """
    if images.is_file():
        if (why := why_not(images, "image")) is not None:
            raise DataError(f"{images}: {why}.")
        return {images.stem: images}, []
    there = list(walk(images))
    left_out = [f"{escaped(path)} {why}" for path in there if (why := why_not(path, "image")) is not None]
    found = by_stem(there, "image")
    if not found:
        others = f" What is there: {left_out[0]}." if left_out else ""
        kinds = ", ".join(sorted(PHOTOGRAPHS))
        raise DataError(f"{images}: there is no picture ({kinds}); name a picture or a folder.{others}")
    if several := next((paths for paths in found.values() if len(paths) > 1), None):
        listing = " and ".join(str(images / path) for path in reversed(several))
        raise DataError(f"{listing} have one name, but each gives one mask; rename one of them.")
    return {name: images / found[name][0] for name in sorted(found)}, left_out


def matched(network: Trained, names: Iterable[str], backgrounds: Path | None) -> Iterator[tuple[str, Path]]:
    """The background of each picture, by the picture's name, where the network takes one.

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
        yield from ((name, backgrounds) for name in names)
        return
    there, _ = pictures(backgrounds)
    for name in names:
        if name not in there:
            raise DataError(f"{backgrounds}: has no picture called {name}, the background of the picture of that name.")
        yield name, there[name]


def view(image: Picture, mask: Plane, depth: Plane, spec: DepthSpec) -> UInt8[np.ndarray, "height width 3"]:
    """The picture, the mask over it, and the depth from near (red) to far (blue), side by side."""
    share = 0.6 * mask[..., None]
    tinted = (image * (1 - share) + TINT * share).round().astype(np.uint8)
    low, high = np.percentile(depth, (1, 99))
    near = nearness(depth, float(low), max(float(high - low), 1e-6), spec)
    return stack([image, tinted, colours(near, np.isfinite(depth))], axis=1)
