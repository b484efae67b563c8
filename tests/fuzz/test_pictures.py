"""Pictures that something happened to: each is read to a right array, or refused with one message."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from helpers.fuzzing import COUNTS, Door, fuzz
from helpers.mutating import Rng, mutated_bytes, mutated_text, one_of
from PIL import Image

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.decoding import Decoded
from dmx.data.reading import decoded
from dmx.datatools.check.sample import read_or_fault
from dmx.datatools.importers.tree import picture_size
from dmx.errors import DataError

ROLES = ("image", "background", "mask", "depth")
SIDES = (0, 1, 7, 255, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
DECLARED = tuple(
    Declaration(name="fuzz", depth=DepthDeclaration(kind="metric", range=(1, 5), channel=channel), mask=mask, exif=exif)
    for channel, mask, exif in (
        (None, MaskDeclaration(), None),
        ("View.Z", MaskDeclaration(alpha=True), "upright"),
        (None, MaskDeclaration(labels=(1,)), "stored"),
    )
)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def pictures(folder: Path) -> dict[str, bytes]:
    """One of every form that is read."""
    rng = np.random.default_rng(0)
    colour = cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (60, 40))
    rgb, depth = Image.fromarray(colour), rng.random((40, 60)).astype(np.float32)
    exif = Image.Exif()
    exif[274] = 6
    found = {
        "rgb.png": saved(rgb, "PNG", exif=exif),
        "rgba.png": saved(rgb.convert("RGBA"), "PNG"),
        "grey.png": saved(rgb.convert("L"), "PNG"),
        "la.png": saved(rgb.convert("LA"), "PNG"),
        "palette.png": saved(rgb.quantize(4), "PNG", bits=2),
        "bit.png": saved(rgb.convert("1"), "PNG"),
        "deep.png": cv2.imencode(".png", (depth * 5000).astype(np.uint16))[1].tobytes(),
        "animated.png": saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(9)]),
        "rgb.jpg": saved(rgb, "JPEG", exif=exif),
        "grey.jpg": saved(rgb.convert("L"), "JPEG"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "several.jpg": saved(rgb, "MPO", save_all=True, append_images=[rgb]),
        "depth.npy": array(depth),
        "bool.npy": array(depth > 0.5),
        "tensor.npy": array(depth[None].astype(">f8")),
        "picture.webp": saved(rgb, "WEBP"),
        "picture.tiff": saved(rgb, "TIFF"),
    }
    kinds = {"z": OpenEXR.ZIP_COMPRESSION, "piz": OpenEXR.PIZ_COMPRESSION, "raw": OpenEXR.NO_COMPRESSION}
    kinds |= {"rle": OpenEXR.RLE_COMPRESSION, "dwa": OpenEXR.DWAA_COMPRESSION, "b44": OpenEXR.B44_COMPRESSION}
    for name, compression in kinds.items():
        header = {"compression": compression, "type": OpenEXR.scanlineimage}
        channels = {"View.Z": depth, "R": depth.astype(np.float16), "A": np.ones_like(depth)}
        OpenEXR.File(header, channels).write(str(folder / "made.exr"))
        found[f"{name}.exr"] = (folder / "made.exr").read_bytes()
    (folder / "made.exr").unlink()
    return found


def with_another_header(name: str, data: bytes, rng: Rng) -> bytes:
    """What claims another size, kind or number of values, and is whole otherwise."""
    if name.endswith(".png"):
        head = bytearray(data[12:29])
        at = one_of(rng, (4, 8, 12, 13, 16))
        number = int(one_of(rng, SIDES)) if at < 12 else int(rng.integers(17))
        size = 4 if at < 12 else 1
        head[at : at + size] = number.to_bytes(size)
        return data[:12] + bytes(head) + zlib.crc32(head).to_bytes(4) + data[33:]
    if name.endswith(".npy"):
        length = int.from_bytes(data[8:10], "little")
        text = mutated_text(data[10 : 10 + length].decode("latin-1"), rng).encode("utf-8", "replace")[:65_000]
        if rng.integers(2):
            text = data[10 : 10 + length].replace(b"60", str(one_of(rng, (0, -1, 2**31, 2**62, 10**30))).encode())
        return data[:8] + len(text).to_bytes(2, "little") + text + data[10 + length :]
    if name.endswith(".jpg") and (at := data.find(b"\xff\xc0")) > 0:
        height, width = (int(one_of(rng, (0, 1, 999, 9_000, 65_535))) for _ in range(2))
        return data[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + data[at + 9 :]
    if name.endswith(".exr"):
        at = data.index(one_of(rng, (b"dataWindow\0", b"displayWindow\0"))) + 22 + 4 * int(rng.integers(4))
        return data[:at] + int(one_of(rng, SIDES)).to_bytes(4, "little") + data[at + 4 :]
    return mutated_bytes(data, rng)


class Pictures(Door):
    """Every reader of one file: for a sample, for `data check`, for an importer."""

    few = 300

    def make(self) -> None:
        self.wholes = pictures(self.folder)
        self.path = self.folder / "picture"
        self.path.write_bytes(self.wholes["rgb.png"])
        self.role: str = "image"
        self.declared = DECLARED[0]

    def mutate(self, rng: Rng) -> object:
        name = one_of(rng, sorted(self.wholes))
        data = self.wholes[name]
        how = int(rng.integers(3))
        data = mutated_bytes(data, rng) if how == 0 else with_another_header(name, data, rng)
        if how == 2:
            data = mutated_bytes(data, rng)
        self.path.write_bytes(data)
        self.role, self.declared = one_of(rng, ROLES), one_of(rng, DECLARED)
        return name, self.role, len(data), data[:400]

    def enter(self) -> None:
        with self.path.open("rb") as file:
            seen = picture_size(file)
        assert isinstance(seen, str) or min(seen) > 0
        told = read_or_fault(self.path, self.role, self.declared)
        assert isinstance(told, Decoded) or (len(told[1]) > 10 and "Traceback" not in told[1])
        try:
            found = decoded(self.path, self.role, self.declared)
        except DataError:
            assert not isinstance(told, Decoded)
            raise
        pixels = found.pixels
        assert pixels.size
        assert pixels.shape[2:] == ((3,) if self.role in ("image", "background") else ())
        assert pixels.dtype.isnative
        assert pixels.dtype.kind in "uif"


@COUNTS
def test_pictures(count: str) -> None:
    fuzz(Pictures, count)
