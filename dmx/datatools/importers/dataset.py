"""Shared part of all importers: check files, leave out incomplete samples, write the data set."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dmx.data.declaration import Declaration
from dmx.data.folders import escaped, listable
from dmx.data.formats import why_not
from dmx.data.processes import in_threads
from dmx.data.samples import FILE, Part, Record
from dmx.data.writing import Progress, Summary, staged, write_samples
from dmx.datatools.importers.tree import SizeOrReason, Tree
from dmx.errors import DataError

SHOWN = 10
"""Most left-out names to list for one reason."""
CHUNK = 256
"""Files that a thread takes at once."""


@dataclass(frozen=True)
class Candidate:
    """A possible sample: the path of each required role, None if missing.

    Attributes:
        id: Name.
        group: Samples of one group must not be split between train, val and test.
        split: Part in the official split, if there is one.
        files: Path by role, image first.
    """

    id: str
    group: str
    split: Part | None
    files: Mapping[str, str | None]

    @property
    def shown(self) -> str:
        """Its name in messages: the path of a picture."""
        return next((path for path in self.files.values() if path is not None), self.id)

    def record(self) -> Record:
        """Convert to a sample; no path may be None."""
        files: dict[str, Any] = {"depth": None, "background": None, **self.files}
        return Record(self.id, self.group, self.split, **files)


class LeftOut:
    """Names of left-out files and samples, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """Add a name; bytes that are not UTF-8 are escaped for display."""
        self._names[reason].append(escaped(name))

    def counts(self) -> dict[str, int]:
        """Count names by reason; each reason lists its first ten names."""
        found = {}
        for reason, names in self._names.items():
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            found[f"{reason} ({', '.join(names[:SHOWN])}{more})"] = len(names)
        return found


def write_dataset(
    tree: Tree,
    out: Path,
    candidates: Sequence[Candidate],
    declaration: Declaration,
    *,
    left_out: LeftOut,
    wrong: Callable[[str], DataError],
    progress: Progress | None,
    copy: bool,
) -> Summary:
    """Write the complete candidates as a data set; pictures are only copied if necessary or requested.

    Args:
        tree: The source of the pictures.
        out: The folder to create.
        candidates: Possible samples.
        declaration: How depth and mask are stored.
        left_out: What was left out so far; more is added.
        wrong: Makes the error if no candidate is complete.
        progress: Called with (pictures done, pictures in total), while checking, then while copying.
        copy: Whether to copy pictures that could stay where they are.

    Raises:
        DataError: No candidate is complete, or `out` exists already.
    """
    with staged(out) as stage:
        records = [one.record() for one in _whole(tree, candidates, declaration, left_out, progress)]
        if not records:
            reasons = [f"{count} {reason}" for reason, count in left_out.counts().items()]
            raise wrong("it holds no whole sample: " + (", ".join(reasons) or "no picture was found"))
        if copy or tree.pictures is None:
            paths = sorted({path for record in records for path in record.paths().values()})
            list(in_threads(lambda path: tree.copy(path, stage / path), paths, progress, chunk=CHUNK))
        else:
            declaration = declaration.model_copy(update={"pictures": str(tree.pictures)})
        write_samples(stage, records)
        declaration.write(stage)
    return Summary(out, len(records), len({record.group for record in records}), left_out.counts())


def _whole(
    tree: Tree, candidates: Sequence[Candidate], declared: Declaration, left_out: LeftOut, progress: Progress | None
) -> Iterable[Candidate]:
    """Keep candidates with all pictures, UTF-8 paths, readable files of equal size, and a unique name."""
    complete = []
    for one in candidates:
        missing = next((role for role, path in one.files.items() if path is None), None)
        if missing is not None:
            left_out.add(f"without {missing}", one.shown)
        elif foreign := [(path, why) for role, path in one.files.items() if (why := why_not(path or "", role))]:
            path, why = foreign[0]
            left_out.add(f"with a picture that {why}", path or "")
        elif not all(listable(path or "") for path in one.files.values()):
            left_out.add("with a file name that is not UTF-8", one.shown)
        elif any(path != path.strip() for path in one.files.values() if path):
            left_out.add(f"with a path that begins or ends with a blank, which {FILE} cannot hold", one.shown)
        else:
            complete.append(one)
    paths = sorted({path for one in complete for path in one.files.values() if path is not None})
    look = partial(tree.picture_size, upright=declared.exif == "upright")
    seen = dict(zip(paths, in_threads(look, paths, progress, chunk=CHUNK), strict=True))
    names: set[str] = set()
    for one in complete:
        odd = ("with the name of another", one.shown) if one.id in names else _odd(tree, one, seen)
        if odd is not None:
            left_out.add(*odd)
        else:
            names.add(one.id)
            yield one


def _odd(tree: Tree, one: Candidate, seen: Mapping[str, SizeOrReason]) -> tuple[str, str] | None:
    """Return what is wrong with a candidate's pictures, and with which."""
    found = {path: seen[path] for path in one.files.values() if path is not None}
    for path, what in found.items():
        if isinstance(what, str):
            return what, path
    if len(set(found.values())) == 1:
        return None
    turned = {tree.picture_size(path, upright=True) for path in found}
    hint = ", but of one as EXIF turns them: say `exif: upright`" if len(turned) == 1 else ""
    return f"with pictures of different sizes{hint}", one.shown
