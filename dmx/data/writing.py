"""Write data sets atomically: into a folder beside the target, renamed at the end."""

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock, Timeout

from dmx.data.samples import FILE, OPTIONAL, REQUIRED, Record
from dmx.errors import DataError, UserError
from dmx.machine import flush
from dmx.stored import replace_text, replacing

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Summary:
    """Summary of a written data set.

    Attributes:
        out: The folder.
        samples: Number of samples.
        groups: Number of groups.
        left_out: Number of samples left out, by reason.
        existed: Whether the same set existed already, so that nothing was written.
    """

    out: Path
    samples: int
    groups: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    existed: bool = False

    def __str__(self) -> str:
        """One line for the terminal."""
        verb = "holds already" if self.existed else "now holds"
        text = f"{self.out} {verb} {self.samples} samples in {self.groups} groups"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"{text}; left out: {reasons}" if reasons else text


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` to write into; it is renamed to `out` on success and removed otherwise.

    Raises:
        DataError: `out` exists and is not empty, before or after the writing.
    """
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        stage = Path(scratch) / out.name  # not the scratch folder itself, which only its owner may read
        stage.mkdir()
        yield stage
        try:
            stage.rename(out)
        except OSError as error:
            raise _taken(out) from error


@contextmanager
def resumable(out: Path, plan: str) -> Iterator[Path]:
    """Yield a folder beside `out` to write into; it is renamed to `out` on success and kept after an interruption.

    After a `UserError` the folder is removed if no file has been written yet. Otherwise it is kept, because a broken
    picture cannot be told from a transient disk error.

    A resuming command must be able to tell which files are whole: write each under another name and rename it.

    Args:
        out: The folder to create.
        plan: A description of everything that determines the bytes; only an equal plan resumes.

    Raises:
        DataError: `out` exists and is not empty, was begun with another plan, or is in use by another process.
    """
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    stage, noted, locked = (out.parent / f".{out.name}.{suffix}" for suffix in ("partial", "plan", "lock"))
    try:
        with FileLock(locked, timeout=0):
            _check_free(out)  # again under the lock: another process may just have created it
            before = noted.read_text(encoding="utf-8") if noted.exists() else plan
            if stage.exists() and before != plan:
                raise DataError(
                    f"{stage}: is what another command has begun ({before}); repeat that one, or remove this folder to "
                    "begin anew: nothing but its unfinished work is in it."
                )
            replace_text(noted, plan)
            stage.mkdir(exist_ok=True)
            try:
                yield stage
            except UserError:
                if not any(path.is_file() for path in stage.rglob("*")):  # a transient disk error must not cost hours
                    shutil.rmtree(stage)
                    noted.unlink()
                    locked.unlink()
                raise
            try:
                stage.rename(out)
            except OSError as error:
                raise _taken(out) from error
            noted.unlink()
            locked.unlink()
    except Timeout:
        raise DataError(f"{out}: another process is making it; wait until it has ended, or stop it.") from None


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise _taken(out)


def _taken(out: Path) -> DataError:
    return DataError(f"{out}: is there already and is not overwritten; choose another folder or remove it yourself.")


def settle(scratch: Path, path: Path) -> None:
    """Flush a written file to disk, then rename it to `path`, so that a file of that name is always whole.

    Without the flush, a power failure can leave the name of a file whose contents were not yet written.
    """
    with replacing(path, scratch, durable=True):
        pass  # it is written already
    flush(path.parent)


def write_samples(folder: Path, records: Iterable[Record]) -> None:
    """Write `samples.csv`."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, REQUIRED + OPTIONAL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(record) for record in records)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a grey (H, W) or RGB (H, W, 3) picture, 8 or 16 bit, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    # not imwrite, which fails on paths that are not UTF-8 and does not report why it failed
    path.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
