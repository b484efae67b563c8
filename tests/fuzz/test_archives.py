"""What strangers pack: zip files, the frames and the official file of NYU Depth V2, as `dmx data import` takes them."""

import io
import zipfile
from typing import ClassVar

import cv2
import h5py
import numpy as np
from helpers.fuzzing import COUNTS, Door, command, fuzz
from helpers.mutating import mutated_bytes, mutated_csv, one_of

NAMES = ("../out.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "n" * 300, "a\0b.png", "ä/🙂.png", "./x")
ZEROS = 2**29
"""Bytes that a zip file of half a megabyte claims to unpack to, and does."""


def png(*shape: int) -> bytes:
    """A picture of noise."""
    return cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, shape, np.uint8))[1].tobytes()


class Zips(Door):
    """A zip file of three quartets."""

    few = 250

    def make(self) -> None:
        self.path, self.out = self.folder / "set.zip", self.folder / "out"
        self.entries = {}
        for number in ("001", "002", "003"):
            stem = f"ol_bg{number}fg1"
            self.entries |= {f"a/bg/bg_{number}.png": png(8, 8, 3), f"a/bgfg_overlay/{stem}.png": png(8, 8, 3)}
            self.entries |= {f"a/bgfg_mask/mask_{stem}.png": png(8, 8), f"a/bgfg_depth/depth_{stem}.png": png(8, 8)}
        self.path.write_bytes(self._packed(self.entries, zipfile.ZIP_STORED))

    def _packed(self, entries: dict[str, bytes], how: int) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", how) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
        return target.getvalue()

    def mutate(self, rng: np.random.Generator) -> object:
        entries = dict(self.entries)
        how = one_of(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        name, kind = one_of(rng, list(entries)), rng.random()
        if kind < 0.2:
            entries[name] = mutated_bytes(entries[name], rng)
        elif kind < 0.3:
            entries[one_of(rng, NAMES)] = entries.pop(name)
        elif kind < 0.302:
            entries[name], how = bytes(ZEROS), zipfile.ZIP_DEFLATED
        data = self._packed(entries, how)
        data = mutated_bytes(data, rng) if kind > 0.3 or rng.random() < 0.3 else data
        self.path.write_bytes(data)
        return list(entries)[-1], len(data)

    def enter(self) -> tuple[int, str]:
        return command("data", "import", "eva4", self.path, self.out)


class Frames(Door):
    """The folder of NYU Depth V2's 320x240 frames with its `split.csv`."""

    few = 150
    rows: ClassVar = [("id", "split"), ("0001", "train"), ("0002", "train"), ("0003", "test")]

    def make(self) -> None:
        self.root, self.out = self.folder / "nyu", self.folder / "out"
        for name, _ in self.rows[1:]:
            for role, suffix in (("image", "jpg"), ("depth", "png"), ("label", "png")):
                (self.root / role).mkdir(parents=True, exist_ok=True)
                picture = np.full((8, 8, 3) if role == "image" else (8, 8), 50, np.uint8)
                cv2.imwrite(str(self.root / role / f"{name}.{suffix}"), picture)
        self.path = self.root / "split.csv"
        self.path.write_text("\n".join(map(",".join, self.rows)) + "\n")

    def mutate(self, rng: np.random.Generator) -> object:
        data = mutated_csv(self.rows, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> tuple[int, str]:
        return command("data", "import", "nyuv2", self.root, self.out)


class Mats(Door):
    """The official file of NYU Depth V2, which is HDF5."""

    few = 150

    def make(self) -> None:
        self.path, self.out = self.folder / "nyu_depth_v2_labeled.mat", self.folder / "out"
        with h5py.File(self.path, "w") as file:
            file["images"] = np.full((2, 3, 8, 6), 50, np.uint8)
            file["depths"] = np.full((2, 8, 6), 2.5, np.float32)
            file["labels"] = np.full((2, 8, 6), 1, np.uint16)
            for name, texts in (("names", ("wall", "chair")), ("scenes", ("a_0001", "b_0002"))):
                targets = [file.create_dataset(f"#refs#/{name}{i}", data=self._letters(t)) for i, t in enumerate(texts)]
                file.create_dataset(name, data=[[one.ref for one in targets]], dtype=h5py.ref_dtype)

    def _letters(self, text: str) -> np.ndarray:
        return np.array([[ord(letter)] for letter in text], np.uint16)

    def mutate(self, rng: np.random.Generator) -> object:
        data = mutated_bytes(self.whole(self.path), rng)
        self.path.write_bytes(data)
        return len(data)

    def enter(self) -> tuple[int, str]:
        return command("data", "import", "nyuv2", self.path, self.out)


@COUNTS
def test_zip_files(count: str) -> None:
    fuzz(Zips, count)


@COUNTS
def test_frames_of_nyu(count: str) -> None:
    fuzz(Frames, count)


@COUNTS
def test_official_file_of_nyu(count: str) -> None:
    fuzz(Mats, count)
