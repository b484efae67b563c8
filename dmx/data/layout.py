"""A data set: a folder with `dataset.yaml`, `samples.csv` and the pictures that it lists, or a pack."""

import hashlib
from array import array
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dmx.data.declaration import FILE, Declaration, read_declaration
from dmx.data.listing import read_samples
from dmx.data.pack.form import FILE as PACK
from dmx.data.pack.form import PackInfo, read_info, read_packed_samples
from dmx.data.samples import COLUMNS, ROLES, Samples
from dmx.errors import DataError
from dmx.quartet import DepthSpec
from dmx.written import not_filled_in, place

SHOWN = 10


@dataclass(frozen=True)
class DatasetIndex:
    """The declaration and samples of a data set; no pixels are read.

    Attributes:
        root: Folder of the data set.
        declaration: Contents of `dataset.yaml`.
        samples: Samples, ordered by id.
        pack: Contents of `pack.json`; None if the data set is not a pack.
    """

    root: Path
    declaration: Declaration
    samples: Samples
    pack: PackInfo | None = None

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.declaration.name

    @property
    def pictures(self) -> Path:
        """The folder to which the samples' paths are relative."""
        return self.root / place(self.declaration.pictures or "")

    @property
    def depth(self) -> DepthSpec:
        """How its depth is to be interpreted.

        Raises:
            DataError: The data set has no depth.
        """
        depth = self.declaration.depth
        if depth is None:
            raise DataError(
                f"{self.root}: has no depth (`depth: null` in {FILE}), and nothing can learn depth from it; compose it "
                "once more from scenes with depth, or with `--depth-model`."
            )
        return DepthSpec(depth.kind, *depth.range, near=depth.near)

    @property
    def has_background(self) -> bool:
        """Whether the samples are quartets (True) or triplets."""
        return self.samples[0].background is not None

    def refuse_pack(self, what: str) -> None:
        """Refuse an operation that packs do not support.

        Raises:
            DataError: This is a pack; the message names the operation `what`.
        """
        if self.pack is not None:
            raise DataError(f"{self.root}: is a pack; {what} the data set that it was made from.")

    def files(self) -> list[str]:
        """List every picture, or every file of a pack, relative to `pictures`, without duplicates, sorted."""
        if self.pack is not None:
            return sorted(shard.file for shard in self.pack.shards)
        return sorted({path for role in ROLES for path in self.samples.distinct(role)})

    def check_files(self) -> None:
        """Check that every picture exists.

        Raises:
            DataError: Some are missing; the first ten are named.
        """
        _ = self._found

    @property
    def sizes(self) -> dict[str, int]:
        """The size of every picture file, in bytes.

        Raises:
            DataError: Pictures are missing; the first ten are named.
        """
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[dict[str, int], bytes]:
        """Size and modification time of every file; cached, because a large data set takes seconds."""
        files, found, changed = self.files(), {}, array("q")
        for path in files:
            with suppress(OSError, ValueError):  # ValueError: a zero byte in the path
                there = (self.pictures / path).stat()
                found[path] = there.st_size
                changed.append(there.st_mtime_ns)
        missing = [path for path in files if path not in found]
        if missing:
            more = f"\n  and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            listing = "".join(f"\n  {path}" for path in missing[:SHOWN])
            raise DataError(
                f"{self.pictures}: {len(missing)} of {len(files)} pictures are missing{not_filled_in(self.pictures)}; "
                f"put them there or take their rows out of samples.csv:{listing}{more}"
            )
        return found, changed.tobytes()

    def fingerprint(self) -> str:
        """SHA-256 of `dataset.yaml`, of the samples and of the size in bytes of every picture.

        File sizes instead of contents: 400,000 quartets take seconds instead of an hour, and files that were added,
        removed or re-encoded are detected. Pixels changed in place without a change of file size, as in uncompressed
        arrays, are not; caches on this machine are therefore keyed by `stamp`.

        Raises:
            DataError: Pictures are missing.
        """
        digest = hashlib.sha256((self.root / FILE).read_bytes())
        if self.pack is not None:  # it holds the SHA-256 of each file
            digest.update((self.root / PACK).read_bytes())
            return digest.hexdigest()
        for name in COLUMNS:
            digest.update(f"\0{name}\0".encode())
            digest.update(self.samples.joined(name))
        digest.update("\0".join(f"{path}\0{size}" for path, size in self.sizes.items()).encode())
        return digest.hexdigest()

    @cached_property
    def stamp(self) -> str:
        """SHA-256 of the fingerprint and of each file's modification time; it differs between copies of the data.

        Raises:
            DataError: Pictures are missing.
        """
        return hashlib.sha256(self.fingerprint().encode() + self._found[1]).hexdigest()


def read(root: Path) -> DatasetIndex:
    """Read the declaration and the list of samples in `root`; no picture is opened.

    Raises:
        DataError: The folder or `dataset.yaml` is missing, or the list of samples is invalid or empty.
        ConfigError: `dataset.yaml` is invalid; all problems are reported.
    """
    declaration = read_declaration(root)
    if (info := read_info(root)) is not None:
        return DatasetIndex(root, declaration, read_packed_samples(root, info), info)
    return DatasetIndex(root, declaration, read_samples(root, depth=declaration.depth is not None))
