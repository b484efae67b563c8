"""Write predicted mask and depth of photographs as files."""

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
    """Write the prediction for every picture, all or nothing.

    NAME is the picture's path relative to `images`, without suffix. `mask/NAME.png` is the probability times 255,
    `depth/NAME.npy` the depth as float32 in the unit of the training data, `view/NAME.png` the picture, the mask over
    it and the depth side by side.

    Args:
        network: The network.
        images: A picture, or a folder of pictures.
        backgrounds: For networks that take a background: one for all pictures, or a folder with one of each picture's
            name.
        out: A folder that does not exist yet.
        progress: Called with (pictures done, pictures in total).

    Raises:
        UserError: There are no pictures, backgrounds are missing or not used, or a picture cannot be read.

    Returns:
        The number of pictures, and the files that were left out, each with the reason.
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
    """Find the pictures by name: a single file, or all in a folder, recursively.

    Returns:
        The pictures by name, and the files that were left out, each with the reason.

    Raises:
        DataError: There are none, or two have the same name.
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
    """Yield the name and the background of each picture, if the network takes backgrounds.

    Raises:
        UserError: The network takes backgrounds and they are missing, or they are given and it does not.
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
    """Draw the picture, the mask over it, and the depth from near (red) to far (blue), side by side."""
    share = 0.6 * mask[..., None]
    tinted = (image * (1 - share) + TINT * share).round().astype(np.uint8)
    low, high = np.percentile(depth, (1, 99))
    near = nearness(depth, float(low), max(float(high - low), 1e-6), spec)
    return stack([image, tinted, colours(near, np.isfinite(depth))], axis=1)
