"""Packs: `pack.json`, the Arrow files that it names, and the note beside them."""

import json

import numpy as np
from helpers.fuzzing import COUNTS, Door, fuzz
from helpers.mutating import mutated_bytes, one_of
from helpers.mutating_values import mutated_json

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import read
from dmx.data.pack.write import pack
from dmx.datatools.synth import synth


class Packs(Door):
    """A pack of eight quartets, raw."""

    few = 400
    encoding = "raw"

    def make(self) -> None:
        self.root = self.folder / "pack"
        synth(self.folder / "data", count=8, size=16, seed=0, workers=1)
        pack(read(self.folder / "data"), self.root, size=(16, 24), encoding=self.encoding)
        self.files = sorted(path for path in self.root.iterdir() if path.suffix != ".yaml")
        self.info = json.loads((self.root / "pack.json").read_text())

    def mutate(self, rng: np.random.Generator) -> object:
        path = one_of(rng, self.files)
        whole = self.whole(path)
        data = mutated_json(self.info, rng) if path.name == "pack.json" else mutated_bytes(whole, rng)
        if path.name != "pack.json":  # else its length gives it away, as a rule
            data = data[: len(whole)].ljust(len(whole), b"\0")
        path.write_bytes(data)
        return path.name, data

    def enter(self) -> None:
        index = read(self.root)
        index.fingerprint()
        assert index.pack is not None
        samples = QuartetDataset(index, index.samples.column("id"), index.pack.size, memory=False)
        for row in range(len(samples)):
            _ = samples[row]
        samples.__getitems__(list(range(len(samples))))


class PackedPng(Packs):
    """A pack whose cells are PNG."""

    encoding = "png"


@COUNTS
def test_packs(count: str) -> None:
    fuzz(Packs, count)


@COUNTS
def test_packs_of_png(count: str) -> None:
    fuzz(PackedPng, count)
