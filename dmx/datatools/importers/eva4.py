"""Quartets as students of this problem made them (EVA4), in three untidy shapes, as a folder or inside a zip file."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.folders import by_stem
from dmx.data.formats import supported, why_not
from dmx.data.writing import Progress, Summary
from dmx.datatools.importers.dataset import Candidate, LeftOut, write_dataset
from dmx.datatools.importers.tree import Tree, open_source
from dmx.errors import DataError
from dmx.registry import importers


@importers.register("eva4", source="The School of AI, EVA4 session 15: background, overlay, mask, depth")
def eva4(source: Path, out: Path, progress: Progress | None = None, copy: bool = False) -> Summary:
    """Student quartets with relative depth (another network's 8-bit output, near is dark).

    Three shapes are known. By name: `bg/bg_AAA`, `bgfg_overlay/ol_bgAAAfg...`, `bgfg_mask/mask_ol_...`,
    `bgfg_depth/depth_ol_...`. By number: `bg/bg_AAA`, `fg_bg/img_AAA0` and pictures of the same name in `fg_bg_mask`
    and `fg_bg_depth`. Flat: `bg`, `bg_fg`, `mask` and `depth`, whose n-th pictures belong together; of 400,000 images
    over 100 backgrounds the first 4,000 stand before the first, and so on. Numbers in names count as numbers: 9 comes
    before 10.

    Files stay where they are unless they are in a zip file or are to be copied, and then are the same bytes. The mask,
    blurred by compression, is the object where it is above 127. What lacks a picture, has one that cannot be read, or
    has pictures of different sizes is left out and named; nothing is resized to fit, for it is not known how such a
    quartet lies. The group of a quartet is its background.

    Args:
        source: The folder with `bg` and the others, or a zip file that holds it.
        out: The folder to make.
        progress: Called with how many pictures of how many are done.
        copy: Whether pictures are copied into `out` although they could stay.

    Raises:
        DataError: The source is another thing, holds no whole quartet, or is a zip file that is not safe to unpack; or
            `out` is there already.
    """
    left_out = LeftOut()

    def wrong(what: str) -> DataError:
        return DataError(
            f"{source}: is not a set of EVA4 quartets as expected ({what}); give the folder or zip file that holds bg/ "
            "and bgfg_overlay/, bgfg_mask/, bgfg_depth/; or fg_bg/, fg_bg_mask/, fg_bg_depth/; or bg_fg/, mask/, "
            "depth/."
        )

    with open_source(source, out) as tree:
        candidates = list(_candidates(tree, left_out, wrong))
        return write_dataset(
            tree, out, candidates, _declaration(), left_out=left_out, wrong=wrong, progress=progress, copy=copy
        )


def _candidates(tree: Tree, left_out: LeftOut, wrong: Callable[[str], DataError]) -> Iterator[Candidate]:
    for folder in map(PurePosixPath, tree.folders()):
        root = folder.parent
        if folder.name in ("bgfg_overlay", "fg_bg", "bg_fg") and tree.listing(str(root / "bg")):
            break
    else:
        raise wrong("a folder is missing")
    if folder.name == "bg_fg":
        return _flat(tree, root, left_out, wrong)
    return _by_name(tree, root, left_out) if folder.name == "bgfg_overlay" else _by_number(tree, root, left_out)


def _by_name(tree: Tree, root: PurePosixPath, left_out: LeftOut) -> Iterator[Candidate]:
    backgrounds, masks, depths = (_by_stem(tree, root / name, left_out) for name in ("bg", "bgfg_mask", "bgfg_depth"))
    for path in tree.listing(str(root / "bgfg_overlay")):
        stem = PurePosixPath(path).stem
        if (match := re.match(r"ol_bg(\d{3})fg", stem)) is None:
            left_out.add("not named as a quartet", path)
            continue
        files = {
            "image": path,
            "mask": masks.get(f"mask_{stem}"),
            "depth": depths.get(f"depth_{stem}"),
            "background": backgrounds.get(f"bg_{match[1]}"),
        }
        yield Candidate(stem, f"bg_{match[1]}", None, files)


def _by_number(tree: Tree, root: PurePosixPath, left_out: LeftOut) -> Iterator[Candidate]:
    backgrounds, masks, depths = (_by_stem(tree, root / name, left_out) for name in ("bg", "fg_bg_mask", "fg_bg_depth"))
    for path in tree.listing(str(root / "fg_bg")):
        stem = PurePosixPath(path).stem
        if not stem.startswith("img_"):
            left_out.add("not named as a quartet", path)
            continue
        match = re.fullmatch(r"img_(\d{3})0", stem)  # the last digit is 0 in all known sets; other ones are not guessed
        group = f"bg_{match[1]}" if match else ""
        files = {
            "image": path,
            "mask": masks.get(stem),
            "depth": depths.get(stem),
            "background": backgrounds.get(group),
        }
        yield Candidate(stem, group, None, files)


def _by_stem(tree: Tree, folder: PurePosixPath, left_out: LeftOut) -> dict[str, str]:
    """Return the pictures in a folder by stem, without ambiguous ones that share a stem."""
    there = tree.listing(str(folder))
    for path in there:
        if why := why_not(path, "image"):
            left_out.add(f"that {why}", path)
    found = {PurePosixPath(stem).name: paths for stem, paths in by_stem(there, "image").items()}
    for paths in found.values():
        if len(paths) > 1:
            left_out.add("with the stem of another", " and ".join(paths))
    return {stem: paths[0] for stem, paths in found.items() if len(paths) == 1}


def _flat(tree: Tree, root: PurePosixPath, left_out: LeftOut, wrong: Callable[[str], DataError]) -> Iterator[Candidate]:
    """Match the n-th pictures of the folders; refused if anything suggests a missing or surplus picture."""
    images, masks, depths, backgrounds = (
        _in_order(tree, root / name, left_out) for name in ("bg_fg", "mask", "depth", "bg")
    )
    if not len(images) == len(masks) == len(depths):
        raise wrong(f"bg_fg/, mask/ and depth/ hold {len(images):,}, {len(masks):,} and {len(depths):,} pictures")
    for row, paths in enumerate(zip(images, masks, depths, strict=True)):
        if len({_numbers(path) for path in paths}) > 1:
            raise wrong(f"number {row + 1:,} in their folders are {', '.join(paths)}, whose numbers differ")
    _refuse_gaps(images, wrong)
    if not images or not backgrounds or len(images) % len(backgrounds):
        raise wrong(f"{len(images):,} images cannot be shared out evenly among {len(backgrounds):,} backgrounds")
    for row, (image, mask, depth) in enumerate(zip(images, masks, depths, strict=True)):
        background = backgrounds[row * len(backgrounds) // len(images)]
        files = {"image": image, "mask": mask, "depth": depth, "background": background}
        yield Candidate(PurePosixPath(image).stem, PurePosixPath(background).stem, None, files)


def _refuse_gaps(images: Sequence[str], wrong: Callable[[str], DataError]) -> None:
    """Refuse names whose number neither increments by one nor restarts with another text: pictures are missing.

    The backgrounds of the others would then be unknown: an even division would assign those of their neighbours.
    """
    parts = [re.split(r"(\d+)", PurePosixPath(path).stem) for path in images]
    if any(len(one) != 3 for one in parts):
        return
    for (path, before), (after, own) in pairwise(zip(images, parts, strict=True)):
        again = (own[0], own[2]) != (before[0], before[2]) and int(own[1]) == int(parts[0][1])
        if int(own[1]) != int(before[1]) + 1 and not again:
            raise wrong(f"{after} comes after {path}, as if pictures between them were missing")


def _in_order(tree: Tree, folder: PurePosixPath, left_out: LeftOut) -> list[str]:
    """Return the pictures in a folder in natural order of their names (9 before 10)."""
    found = []
    for path in tree.listing(str(folder)):
        if supported(path, "image"):
            found.append(path)
        else:
            why = why_not(path, "image")
            left_out.add(f"that {why}" if why else "not a picture", path)
    return sorted(found, key=_natural)


def _natural(path: str) -> list[str | int]:
    parts: list[str | int] = list(re.split(r"(\d+)", path))
    parts[1::2] = [int(part) for part in parts[1::2]]  # text and numbers alternate, so equal types are compared
    return parts


def _numbers(path: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", PurePosixPath(path).stem))


def _declaration() -> Declaration:
    return Declaration(
        name="eva4",
        depth=DepthDeclaration(kind="relative", scale=1 / 255, range=(0.0, 1.0), near="low"),
        mask=MaskDeclaration(threshold=127),
        source="EVA4 student quartets, imported by `dmx data import eva4`; depth is another network's output",
        license="pictures from a web image search; no licence to pass them on is known",
    )
