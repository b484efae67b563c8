"""Which files are pictures: the one table by which every door takes and refuses them.

Folders are listed by the endings of names, whatever their case; files are decoded by how they begin, whatever their
name. What is a picture but not read here is named, so that nothing is left out without a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: What people call it.
        endings: How names of such files end, in lower case.
        begins: Its first bytes: their place and what they are.
        planes: Whether masks and depth are read from it.
        photographs: Whether photographs are.
        remedy: How to make of it what is read, where that is not plain.
    """

    name: str
    endings: tuple[str, ...]
    begins: tuple[tuple[int, bytes], ...] = ()
    planes: bool = False
    photographs: bool = False
    remedy: str = ""


HEIF = "; `heif-convert A.heic A.jpg` does it, and telephones write JPEG where their camera is set so"
FORMATS = (
    Format("PNG", (".png",), ((0, b"\x89PNG\r\n\x1a\n"),), planes=True, photographs=True),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), ((0, b"\xff\xd8"),), planes=True, photographs=True),
    Format("NPY", (".npy",), ((0, b"\x93NUMPY"),), planes=True),
    Format("EXR", (".exr",), ((0, b"\x76\x2f\x31\x01"),), planes=True),
    Format("WebP", (".webp",), ((8, b"WEBP"),)),
    Format("HEIC", (".heic", ".heif", ".hif"), ((4, b"ftyphei"), (4, b"ftyphev"), (4, b"ftypmif")), remedy=HEIF),
    Format("AVIF", (".avif",), ((4, b"ftypavi"),)),
    Format("GIF", (".gif",), ((0, b"GIF8"),)),
    Format("TIFF", (".tif", ".tiff"), ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))),
    Format("BMP", (".bmp", ".dib"), ((0, b"BM"),)),
    Format("JPEG 2000", (".jp2", ".j2k", ".jpx"), ((0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51"))),
    Format("JPEG XL", (".jxl",), ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL "))),
    Format("Netpbm", (".pgm", ".ppm", ".pnm", ".pbm", ".pam"), tuple((0, b"P%d" % n) for n in range(1, 8))),
    Format("PFM", (".pfm",), ((0, b"Pf"), (0, b"PF"))),
    Format("Radiance HDR", (".hdr",), ((0, b"#?"),)),
    Format("DDS", (".dds",), ((0, b"DDS "),)),
    Format("MPO (several JPEG in one file)", (".mpo",)),
    Format("TGA", (".tga",)),
    Format("raw data of a camera", (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")),
    Format("NPZ (an archive of arrays)", (".npz",), ((0, b"PK\x03\x04"),), remedy="; `numpy.save` writes one array"),
    Format("HDF5", (".h5", ".hdf5"), ((0, b"\x89HDF\r\n\x1a\n"),)),
    Format("MATLAB", (".mat",), ((0, b"MATLAB 5.0"),)),
    Format("PyTorch", (".pt", ".pth")),
    Format("DPT (Sintel)", (".dpt",), ((0, b"PIEH"),)),
)
"""All that are known; the first four are read."""

PLANES = frozenset(ending for one in FORMATS if one.planes for ending in one.endings)
"""Endings of masks and depth."""
PHOTOGRAPHS = frozenset(ending for one in FORMATS if one.photographs for ending in one.endings)
"""Endings of photographs."""
BY_ENDING: Mapping[str, Format] = MappingProxyType({ending: one for one in FORMATS for ending in one.endings})


def endings(role: str) -> frozenset[str]:
    """How the names of files end that a role ("image", "background", "mask", "depth") is read from."""
    return PLANES if role in ("mask", "depth") else PHOTOGRAPHS


def supported(name: str | PurePath, role: str) -> bool:
    """Whether a role is read from files that are called so.

    >>> supported("IMG_1.JPG", "image"), supported("1.npy", "depth"), supported("1.npy", "image")
    (True, True, False)
    """
    return PurePath(name).suffix.lower() in endings(role)


def why_not(name: str | PurePath, role: str) -> str | None:
    """What to say of a file that is a picture or an array by its name, but none that the role is read from.

    The text goes behind the file's name and a colon. It is None for files that are read, and for those whose names are
    not those of pictures, such as `notes.txt`.

    >>> why_not("a.webp", "image")
    'is WebP, which is not read; convert it to PNG or JPEG'
    >>> why_not("a.txt", "image")
    """
    found = BY_ENDING.get(PurePath(name).suffix.lower())
    return None if found is None or _read(found, role) else refusal(found, role)


def refusal(found: Format | None, role: str) -> str:
    """Describe why a role is not read from a format; None is an unknown one."""
    wanted = "PNG or JPEG" if role in ("image", "background") else "PNG (8 or 16 bits), NPY or EXR"
    if found is None:
        return f"is of a format that is not known; convert it to {wanted}"
    reason = "which holds masks or depth, no photographs" if found.planes else "which is not read"
    return f"is {found.name}, {reason}; convert it to {wanted}{found.remedy}"


def by_content(data: bytes) -> Format | None:
    """The format of a file by its first bytes; None where it is not known."""
    for one in FORMATS:
        if any(data[at : at + len(magic)] == magic for at, magic in one.begins):
            return one
    return None


def _read(found: Format, role: str) -> bool:
    return found.planes if role in ("mask", "depth") else found.photographs
