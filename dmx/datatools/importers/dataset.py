"""What all importers do with the samples that they found: check the files, leave out incomplete ones, write the set."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from dmx.data.declaration import Declaration
from dmx.data.folders import escaped, listable
from dmx.data.formats import why_not
from dmx.data.samples import FILE, Part, Record
from dmx.data.writing import Progress, Summary, staged, write_samples
from dmx.datatools.importers.tree import SizeOrReason, Tree
from dmx.errors import DataError
from dmx.machine import cores

S = TypeVar("S")
T = TypeVar("T")

SHOWN = 10
"""How many of those left out for one reason are named."""
CHUNK = 256
"""Files that a thread does at once: 1,200,000 waiting one by one would take 2 GB."""


@dataclass(frozen=True)
class Candidate:
    """What may be a sample: the path of each role that it needs, None where there is none.

    Attributes:
        id: Its name.
        group: What must not be split.
        split: Its part in the official split, where there is one.
        files: Path by role, image first.
    """

    id: str
    group: str
    split: Part | None
    files: Mapping[str, str | None]

    @property
    def shown(self) -> str:
        """What people know it by: the path of a picture."""
        return next((path for path in self.files.values() if path is not None), self.id)

    def record(self) -> Record:
        """The sample, where no path is None."""
        files = {role: path for role, path in self.files.items() if path is not None}
        return Record(
            self.id,
            self.group,
            self.split,
            files["image"],
            files["mask"],
            files.get("depth"),
            files.get("background"),
        )


class LeftOut:
    """What was left out, by reason and name."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """Note one more; bytes of its name that are no UTF-8 are escaped, for no terminal can show them."""
        self._names[reason].append(escaped(name))

    def counts(self) -> dict[str, int]:
        """How many were left out by reason; the reason names the first ten."""
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
    """Write the whole ones among the candidates as a data set: a list alone where pictures can stay where they are.

    Args:
        tree: Where the pictures are.
        out: The folder to make.
        candidates: What may be samples.
        declaration: How depth and mask are stored.
        left_out: What was left out already; more is added.
        wrong: Makes the error where nothing is whole.
        progress: Called with how many pictures of how many have been looked at, then copied.
        copy: Whether pictures are copied although they could stay.

    Raises:
        DataError: No candidate is whole, or `out` is there already.
    """
    with staged(out) as stage:
        records = [one.record() for one in _whole(tree, candidates, declaration, left_out, progress)]
        if not records:
            reasons = [f"{count} {reason}" for reason, count in left_out.counts().items()]
            raise wrong("it holds no whole sample: " + (", ".join(reasons) or "no picture was found"))
        if copy or tree.pictures is None:
            paths = sorted({path for record in records for path in record.paths().values()})
            threaded_map(lambda path: tree.copy(path, stage / path), paths, progress)
        else:
            declaration = declaration.model_copy(update={"pictures": str(tree.pictures)})
        write_samples(stage, records)
        declaration.write(stage)
    return Summary(out, len(records), len({record.group for record in records}), left_out.counts())


def _whole(
    tree: Tree, candidates: Sequence[Candidate], declared: Declaration, left_out: LeftOut, progress: Progress | None
) -> Iterable[Candidate]:
    """Those that have all their pictures, of names that can be listed, readable and of one size, and an own name."""
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
    seen = dict(zip(paths, threaded_map(look, paths, progress), strict=True))
    names: set[str] = set()
    for one in complete:
        odd = ("with the name of another", one.shown) if one.id in names else _odd(tree, one, seen)
        if odd is not None:
            left_out.add(*odd)
        else:
            names.add(one.id)
            yield one


def _odd(tree: Tree, one: Candidate, seen: Mapping[str, SizeOrReason]) -> tuple[str, str] | None:
    """What is wrong with its pictures, and with which."""
    found = {path: seen[path] for path in one.files.values() if path is not None}
    for path, what in found.items():
        if isinstance(what, str):
            return what, path
    if len(set(found.values())) == 1:
        return None
    turned = {tree.picture_size(path, upright=True) for path in found}
    hint = ", but of one as EXIF turns them: say `exif: upright`" if len(turned) == 1 else ""
    return f"with pictures of different sizes{hint}", one.shown


def threaded_map(
    work: Callable[[S], T], items: Sequence[S], progress: Progress | None, *, chunk: int = CHUNK
) -> list[T]:
    """What `work` makes of each item, in their order, in threads: it waits for the disk or is in C.

    Args:
        work: The work on one item.
        items: All of them.
        progress: Called with how many of how many are done.
        chunk: How many a thread does at once.

    Returns:
        The results, in the order of the items.
    """
    results: list[T] = []
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    pool = ThreadPoolExecutor(cores())
    try:
        for found in pool.map(lambda some: [work(item) for item in some], chunks):
            results += found
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
