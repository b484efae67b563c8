"""Read the header of a PNG or JPEG without decoding pixels: size, frames and EXIF orientation."""

import re
from dataclasses import dataclass

import numpy as np

LARGEST = 100_000_000
"""Most pixels of a picture; six times as many decoded bytes are allowed. A PNG of 60000x60000 fits in a 10 MB file."""
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""End marker of JPEG and PNG, by their first bytes."""
DENSEST_PNG, DENSEST_JPEG = 1032, 512
"""Most uncompressed bytes of a PNG (limit of deflate), and pixels of a JPEG (64 take at least a bit), per byte of file;
a header that declares more is false."""
TAIL = 64
"""Bytes at the end of a file that are searched for the end marker first."""
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The marker that starts a JPEG segment, except those that occur within entropy-coded data."""
START, SCAN, END = 0xD8, 0xDA, 0xD9
SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The start-of-frame markers of a JPEG, whose segments hold its size."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of a PNG by its colour type; 3 has a palette."""
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Header:
    """The declared properties of a file.

    Attributes:
        height: Rows of pixels as they are stored.
        width: Columns.
        bits: Bits of each value.
        channels: Channels as stored; one with a palette.
        palette: Whether values are palette indices.
        frames: Number of frames; more than one if animated.
        passes: Number of scans over the pixels when decoding.
        orientation: EXIF orientation, from 1 (as stored) to 8.
    """

    height: int
    width: int
    bits: int
    channels: int
    palette: bool = False
    frames: int = 1
    passes: int = 1
    orientation: int = 1

    @property
    def too_large(self) -> bool:
        """Whether decoding would take too much memory or time."""
        pixels = self.height * self.width
        decoded = max(self.channels, 3) * (2 if self.bits > 8 else 1)
        return pixels > LARGEST or pixels * decoded > 6 * LARGEST or pixels * self.passes > 50 * LARGEST


def header(data: bytes) -> Header | None:
    """Read the header of a PNG or JPEG; None if the file is damaged or truncated."""
    return _png(data) if data.startswith(b"\x89PNG") else _jpeg(data)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation: 2 to 4 are mirrored or upside down, 5 to 8 also transposed."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)  # all that orientation 5 needs
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _png(data: bytes) -> Header | None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    bits, colour = data[24], data[25]
    if not (0 < width < 2**31 and 0 < height < 2**31 and colour in PNG_CHANNELS):
        return None
    if height * (1 + width * PNG_CHANNELS[colour] * bits // 8) > DENSEST_PNG * len(data):
        return None
    frames, orientation, at = 1, 1, 33
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if name == b"IEND":
            return Header(height, width, bits, PNG_CHANNELS[colour], colour == 3, frames, 1, orientation)
        if name == b"acTL":
            frames = int.from_bytes(data[at + 8 : at + 12])
        elif name == b"eXIf":
            orientation = orientation_of(data[at + 8 : at + 8 + length])
        at += 12 + length
    return None


def _jpeg(data: bytes) -> Header | None:
    size, orientation, at = None, 1, 2
    while (found := MARKER.search(data, at)) is not None:
        kind, at = found[0][1], found.end()
        if kind == SCAN:
            break
        if kind == END:
            return None
        if kind == START:
            continue
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2])]
        if kind in SIZES and len(body) >= 6:
            size = int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[0], body[5]
        elif kind == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = orientation_of(body[6:])
        at += max(2, 2 + len(body))
    if size is None or not all(size[:2]) or not has_end(data) or size[0] * size[1] > DENSEST_JPEG * len(data):
        return None
    return Header(*size, passes=data.count(b"\xff\xda"), orientation=orientation)


def has_end(data: bytes) -> bool:
    """Whether a PNG or JPEG contains its end marker, which cameras and phones may append data to."""
    end = ENDS[data[:2]]
    if end in data[-TAIL:]:
        return True
    return _jpeg_has_end(data) if data.startswith(b"\xff\xd8") else end in data


def _jpeg_has_end(data: bytes) -> bool:
    """Walk the segments by their lengths, because an embedded thumbnail has its own end marker."""
    at = 2
    while (found := MARKER.search(data, at)) is not None:
        if found[0][1] == END:
            return True
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return False


def orientation_of(exif: bytes) -> int:
    """Return the orientation in the first EXIF directory, 1 to 8; 1 if none can be read."""
    if exif[:2] not in (b"II", b"MM"):
        return 1
    little = exif[:2] == b"II"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if little else "big")

    first = number(4, 4)
    for at in range(first + 2, min(first + 2 + 12 * number(first, 2), len(exif) - 11), 12):
        if number(at, 2) == ORIENTATION:
            value = number(at + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
