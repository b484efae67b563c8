"""Which files are pictures: the table by which all readers accept or refuse them.

Folders are listed by file suffix, in any case; files are decoded by their first bytes, whatever their name. Picture
formats that are not supported are listed too, so that such files are reported rather than silently left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: Common name.
        endings: File suffixes, in lower case.
        begins: Magic bytes: offset and value.
        planes: Whether masks and depth can be read from it.
        photographs: Whether photographs can be read from it.
        remedy: How to convert it to a supported format, where that is not obvious.
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
"""All known formats; the first four are supported."""

PLANES = frozenset(ending for one in FORMATS if one.planes for ending in one.endings)
"""Suffixes of masks and depth."""
PHOTOGRAPHS = frozenset(ending for one in FORMATS if one.photographs for ending in one.endings)
"""Suffixes of photographs."""
BY_ENDING: Mapping[str, Format] = MappingProxyType({ending: one for one in FORMATS for ending in one.endings})


def endings(role: str) -> frozenset[str]:
    """Return the supported suffixes of a role ("image", "background", "mask", "depth")."""
    return PLANES if role in ("mask", "depth") else PHOTOGRAPHS


def supported(name: str | PurePath, role: str) -> bool:
    """Whether a role can be read from a file of this name.

    >>> supported("IMG_1.JPG", "image"), supported("1.npy", "depth"), supported("1.npy", "image")
    (True, True, False)
    """
    return PurePath(name).suffix.lower() in endings(role)


def why_not(name: str | PurePath, role: str) -> str | None:
    """Return the message for a file whose suffix is that of a picture or array that the role does not support.

    The text follows the file's name and a colon. It is None for supported files, and for names that are not those of
    pictures, such as `notes.txt`.

    >>> why_not("a.webp", "image")
    'is WebP, which is not read; convert it to PNG or JPEG'
    >>> why_not("a.txt", "image")
    """
    found = BY_ENDING.get(PurePath(name).suffix.lower())
    return None if found is None or _read(found, role) else refusal(found, role)


def refusal(found: Format | None, role: str) -> str:
    """Describe why a role cannot be read from a format; `found` is None for an unknown format."""
    wanted = "PNG or JPEG" if role in ("image", "background") else "PNG (8 or 16 bits), NPY or EXR"
    if found is None:
        return f"is of a format that is not known; convert it to {wanted}"
    reason = "which holds masks or depth, no photographs" if found.planes else "which is not read"
    return f"is {found.name}, {reason}; convert it to {wanted}{found.remedy}"


def by_content(data: bytes) -> Format | None:
    """Identify the format of a file by its first bytes; None if it is unknown."""
    for one in FORMATS:
        if any(data[at : at + len(magic)] == magic for at, magic in one.begins):
            return one
    return None


def _read(found: Format, role: str) -> bool:
    return found.planes if role in ("mask", "depth") else found.photographs
