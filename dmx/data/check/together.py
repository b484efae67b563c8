"""What can be said of samples only together: copies, leaks between groups and parts, odd sizes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from dmx.data.check.finding import Finding
from dmx.data.layout import DatasetIndex

USUAL = 0.9
"""The share of samples that must have one size for the others to be unusual."""


def compare_all(index: DatasetIndex, seen: np.ndarray) -> Iterator[Finding]:
    """Findings about samples in view of all others.

    Args:
        index: The data set.
        seen: What `look` kept of each sample, in their order.
    """
    groups = [str(group) for group in index.samples.column("group")]
    yield from _copies(index, seen, groups)
    yield from _leaks(index, seen["background"], groups)
    yield from _depths(index, seen)
    yield from _torn(index, groups)
    yield from _odd_sizes(index, seen)


def _copies(index: DatasetIndex, seen: np.ndarray, groups: Sequence[str]) -> Iterator[Finding]:
    """Images that stand under two ids; the one with the lower id is taken for the original."""
    for first, row in _repeats(seen["image"]):
        one, other = index.samples[first], index.samples[row]
        same = seen["mask"][first] == seen["mask"][row] != 0
        apart = groups[first] != groups[row]
        where = f"in group '{one.group}' and here in '{other.group}'" if apart else f"in the same group '{one.group}'"
        text = f"its image has the same pixels as that of '{one.id}', {where}"
        if same:
            yield Finding(other.id, "sample", None, "duplicate", f"{text}, and so has its mask; take one out", apart)
        elif apart:
            yield Finding(other.id, "image", other.image, "leak", f"{text}; give both one group, or take one out")
        else:
            yield Finding(other.id, "image", other.image, "image-repeated", f"{text}; take one out if it is a mistake")


def _leaks(index: DatasetIndex, digests: np.ndarray, groups: Sequence[str]) -> Iterator[Finding]:
    """A background that several groups show; those but the one that shows it most often are told, once each."""
    users: dict[int, Counter[str]] = defaultdict(Counter)
    for made, group in zip(digests.tolist(), groups, strict=True):
        users[made][group] += 1
    shared = {made: found for made, found in users.items() if made and len(found) > 1}
    told: set[tuple[int, str]] = set()
    for row, (made, group) in enumerate(zip(digests.tolist(), groups, strict=True)):
        if made not in shared or (made, group) in told:
            continue
        told.add((made, group))
        owner = max(shared[made], key=lambda name: shared[made][name])
        if group != owner:
            record = index.samples[row]
            text = (
                f"group '{group}' shows the background of group '{owner}', so that a split by group leaks; give both "
                "one group, or restore the background"
            )
            count = shared[made][group]
            yield Finding(record.id, "background", record.background, "leak", text, count, affected=count)


def _depths(index: DatasetIndex, seen: np.ndarray) -> Iterator[Finding]:
    for first, row in _repeats(seen["depth"]):
        if seen["image"][first] != seen["image"][row]:
            other = index.samples[row]
            text = f"the depth of '{index.samples[first].id}', of which the image differs; look whose depth it is"
            yield Finding(other.id, "depth", other.depth, "depth-repeated", text)


def _torn(index: DatasetIndex, groups: Sequence[str]) -> Iterator[Finding]:
    """Groups of which the official split has one sample here, another there; told at the parts with fewer of them."""
    parts = index.samples.column("split")
    counts: dict[str, Counter[str | None]] = defaultdict(Counter)
    for group, part in zip(groups, parts, strict=True):
        counts[group][part] += 1
    told: set[tuple[str, str | None]] = set()
    for row, (group, part) in enumerate(zip(groups, parts, strict=True)):
        home = max(counts[group], key=lambda name: counts[group][name])
        if part == home or (group, part) in told:
            continue
        told.add((group, part))
        count = counts[group][part]
        text = (
            f"group '{group}' stands in {home} ({counts[group][home]} samples) and in {part} ({count}); mend `split` "
            "or `group` in samples.csv"
        )
        yield Finding(index.samples[row].id, "sample", None, "group-torn", text, count, affected=count)


def _odd_sizes(index: DatasetIndex, seen: np.ndarray) -> Iterator[Finding]:
    sizes = list(zip(seen["width"].tolist(), seen["height"].tolist(), strict=True))
    counts = Counter(size for size in sizes if size != (0, 0))
    usual, often = counts.most_common(1)[0] if counts else ((0, 0), 0)
    if often < USUAL * counts.total() or often == counts.total():
        return
    for row, size in enumerate(sizes):
        if size not in (usual, (0, 0)):
            text = f"is {size[0]}x{size[1]} where {often} of {counts.total()} samples are {usual[0]}x{usual[1]}"
            yield Finding(
                index.samples[row].id, "sample", None, "size-unusual", f"{text}; look whether it belongs here"
            )


def _repeats(digests: np.ndarray) -> Iterator[tuple[int, int]]:
    """Rows whose digest stood in a row before, with the first such row; unknown ones (0) are like no other."""
    first: dict[int, int] = {}
    for row, made in enumerate(digests.tolist()):
        if made and first.setdefault(made, row) != row:
            yield first[made], row
