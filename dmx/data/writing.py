"""A new data set appears whole or not at all: it is written beside its place and renamed at the end."""

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
"""Called with how many are done, and of how many."""


@dataclass(frozen=True)
class Summary:
    """What was written.

    Attributes:
        out: The folder.
        samples: How many samples it holds.
        groups: How many groups they are in.
        left_out: How many were left out, by reason.
        existed: The same set was there already, and nothing was written.
    """

    out: Path
    samples: int
    groups: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    existed: bool = False

    def __str__(self) -> str:
        """One line for people."""
        verb = "holds already" if self.existed else "now holds"
        text = f"{self.out} {verb} {self.samples} samples in {self.groups} groups"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"{text}; left out: {reasons}" if reasons else text


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when all went well and is removed otherwise.

    Raises:
        DataError: `out` is there and not empty, before or after the writing.
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
    """A folder beside `out` to write into, which becomes `out` when all is there; it stays when the writing is stopped.

    After a user's mistake it is removed where nothing has been written yet. A broken picture cannot be told from one
    that the disk refused once, so what has been written stays.

    The command that continues has to find out which files are whole: write each under another name and rename it.

    Args:
        out: The folder to make.
        plan: What is being made, with all that decides its bytes: only the same plan goes on.

    Raises:
        DataError: `out` is there and not empty, or was begun by another plan, or another process works on it.
    """
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    stage, noted, locked = (out.parent / f".{out.name}.{suffix}" for suffix in ("partial", "plan", "lock"))
    try:
        with FileLock(locked, timeout=0):
            _check_free(out)  # once more: another process may just have made it
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
                if not any(path.is_file() for path in stage.rglob("*")):  # else a disk that failed once costs hours
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
    """Give a written file its name once all of it is on the disk, so that whatever has the name is whole.

    A system that loses power otherwise keeps names of files whose contents it had not yet written.
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
    # not imwrite, which knows no path that is not UTF-8 and does not say why it could not
    path.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
