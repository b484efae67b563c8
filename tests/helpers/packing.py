"""What the tests of packs compare by."""

from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import numpy as np

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex
from dmx.quartet import Quartet

SIZE = (16, 24)


def same(one: Quartet, other: Quartet) -> bool:
    for field in fields(Quartet):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(mine, theirs)  # NaN equals NaN there
        assert getattr(mine, "dtype", None) == getattr(theirs, "dtype", None)
    return True


def quartets(index: DatasetIndex) -> list[Quartet]:
    assert index.pack is not None
    dataset = QuartetDataset(index, index.samples.column("id"), index.pack.size, memory=False)
    return [dataset[row] for row in range(len(dataset))]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
