"""The canonical folder of a data set: `dataset.yaml`, `samples.csv` and the pictures that they name."""

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path

from dmx.data.declaration import FILE, Declaration, read_declaration
from dmx.data.samples import Record, read_samples
from dmx.errors import DataError
from dmx.quartet import DepthSpec

SHOWN = 10


@dataclass(frozen=True)
class DatasetIndex:
    """What a data set holds, without a single pixel read.

    Attributes:
        root: Its folder.
        declaration: Its `dataset.yaml`.
        samples: Its samples, ordered by id.
    """

    root: Path
    declaration: Declaration
    samples: tuple[Record, ...]

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.declaration.name

    @property
    def pictures(self) -> Path:
        """The folder in which the paths of the samples begin."""
        return self.root / (self.declaration.pictures or "")

    @property
    def depth(self) -> DepthSpec:
        """How its depth is to be read."""
        depth = self.declaration.depth
        return DepthSpec(depth.kind, *depth.range, near=depth.near)

    @property
    def has_background(self) -> bool:
        """Whether the samples are quartets (True) or triplets."""
        return self.samples[0].background is not None

    def files(self) -> list[str]:
        """Every picture, relative to the folder, each once, sorted."""
        return sorted({path for record in self.samples for path in record.paths().values()})

    def check_files(self) -> None:
        """Look that every picture is there.

        Raises:
            DataError: Some are not; the first ten are named.
        """
        missing = [path for path in self.files() if not (self.pictures / path).is_file()]
        if missing:
            more = f"\n  and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            listing = "".join(f"\n  {path}" for path in missing[:SHOWN])
            raise DataError(
                f"{self.pictures}: {len(missing)} of {len(self.files())} pictures are missing; "
                f"put them there or take their rows out of samples.csv:{listing}{more}"
            )

    def fingerprint(self) -> str:
        """SHA-256 of `dataset.yaml`, of the samples and of the size in bytes of every picture.

        Sizes instead of contents: 400,000 quartets take seconds instead of an hour, and whatever was added, removed or
        encoded anew shows. A pixel changed in place without a change of the file's size does not.

        Raises:
            DataError: Pictures are missing.
        """
        self.check_files()
        sizes = [(path, (self.pictures / path).stat().st_size) for path in self.files()]
        text = json.dumps([[astuple(record) for record in self.samples], sizes], ensure_ascii=True)
        return hashlib.sha256((self.root / FILE).read_bytes() + b"\0" + text.encode()).hexdigest()


def read(root: Path) -> DatasetIndex:
    """Read what the folder `root` declares and lists; no picture is opened.

    Raises:
        DataError: There is no such folder or no `dataset.yaml`, or the list of samples is wrong or empty.
        ConfigError: `dataset.yaml` is wrong; every problem at once.
    """
    return DatasetIndex(root, read_declaration(root), read_samples(root))
