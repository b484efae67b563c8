"""The frames of a video, by OpenCV."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import count, takewhile
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.data.folders import escaped, listable
from dmx.deliver.ahead import ahead
from dmx.errors import DataError

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
"""Suffixes of videos, in lower case."""
ROOM = 8
"""Most frames that are decoded ahead."""
SHARE = 0.05
"""By how much of its length a video may end early: some containers only have an estimate of the number of frames."""


def opened(path: Path) -> cv2.VideoCapture:
    """Open a video. What OpenCV and FFmpeg would print about broken ones is said by our own message."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)


class Video:
    """A video.

    Args:
        path: The file.

    Raises:
        DataError: Its name is not UTF-8.

    Attributes:
        path: The file.
        total: How many frames it says that it has; 1 where it does not say, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        if not listable(str(path)):  # OpenCV ends the process
            raise DataError(f"{escaped(str(path))}: is a video whose name is not UTF-8; rename it.")
        self.path = path
        capture = opened(path)
        self.total = max(1, round(capture.get(cv2.CAP_PROP_FRAME_COUNT))) if capture.isOpened() else 1
        capture.release()

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield the frames as RGB, upright, decoded ahead in a thread.

        Raises:
            DataError: It cannot be opened, has no frame, or ends before it should.
        """
        capture = opened(self.path)
        if not capture.isOpened():
            raise DataError(f"{self.path}: cannot be read as a video; restore it, or convert it by `ffmpeg`.")

        def read(number: int) -> UInt8[np.ndarray, "H W 3"] | None:
            there, frame = capture.read()
            return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False) if there else None

        done = 0
        try:
            with closing(ahead(count(), read, threads=1, room=ROOM)) as frames:  # no thread reads what is released
                for frame in takewhile(lambda frame: frame is not None, frames):
                    assert frame is not None
                    done += 1
                    yield frame
        finally:
            capture.release()
        if done < self.total - max(1, SHARE * self.total) or not done:
            raise DataError(f"{self.path}: ends after {done} of {self.total} frames; restore it, or cut it there.")
