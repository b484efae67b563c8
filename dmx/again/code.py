"""The code of a run: its recorded commit with its recorded diff, checked out beside the working tree.

The files of a commit are written with an index of their own (`git read-tree`, `git checkout-index`), so that nothing in
the repository changes, not even its list of worktrees, and nothing stays behind where the command is killed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dmx
from dmx.errors import MachineError
from dmx.tracking.environment import git, recorded_part

OWN = Path(dmx.__file__).resolve().parent.parent
"""The folder from which dmx itself is imported here."""
GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
"""What git sets for its hooks; another repository would be taken by it."""


@dataclass(frozen=True)
class Code:
    """What the second training runs.

    Attributes:
        path: The search path of Python for it.
        said: What it is, in words.
        differences: What of the recorded code could not be had, a line each.
    """

    path: tuple[str, ...]
    said: str
    differences: tuple[str, ...] = ()


def restored(commit: str | None, diff: str, folder: Path, places: Sequence[Path]) -> Code:
    """Check out the recorded code in `folder`; without it, the code is what is installed.

    Args:
        commit: The recorded commit.
        diff: The recorded diff from it.
        folder: A new folder for the code; what is there is removed.
        places: Folders in whose repositories the commit is looked for.
    """
    if commit is None:
        return Code(import_path(None, folder), f"{here()}, for the run recorded no git commit")
    tops = [*dict.fromkeys(top for place in places if (top := top_of(place)) is not None)]
    top = next((top for top in tops if git(top, "cat-file", "-e", f"{commit}^{{commit}}") is not None), None)
    if top is None:
        where = f"not in the git repository {' or '.join(map(str, tops))}" if tops else "in no git repository here"
        missing = f"code: commit {commit[:10]} is {where}; fetch it, or call this in the project's own folder"
        return Code(import_path(None, folder), here(), (missing,))
    shutil.rmtree(folder, ignore_errors=True)
    checkout(top, commit, folder)
    patch, unrecorded = recorded_part(diff)
    lacking = [f"code: {line}" for line in unrecorded]
    if patch and (why := applied(patch, folder)):
        lacking.append(f"code: the recorded diff does not fit commit {commit[:10]}, which is taken without it ({why})")
        patch = ""
    said = f"commit {commit[:10]}{' with the recorded diff' if patch else ''} of {top}"
    if not (folder / "dmx" / "__init__.py").is_file():
        said += f"; dmx itself is {here()}"
    return Code(import_path(top, folder), said, tuple(lacking))


def here() -> str:
    """The dmx that runs this command, in words."""
    return f"dmx {dmx.__version__} as it is in {OWN / 'dmx'}"


def top_of(place: Path) -> Path | None:
    """The working tree around a folder."""
    found = git(place, "rev-parse", "--show-toplevel") if place.is_dir() else None
    return Path(found.rstrip("\n")).resolve() if found else None


def checkout(top: Path, commit: str, folder: Path) -> None:
    """Write the files of a commit.

    Raises:
        MachineError: git cannot.
    """
    folder.mkdir(parents=True)
    index = folder.with_suffix(".index")
    for arguments in (("read-tree", commit), ("checkout-index", "--all", f"--prefix={folder.resolve()}/")):
        if why := failed(top, arguments, GIT_INDEX_FILE=str(index.resolve())):
            raise MachineError(f"git cannot write commit {commit[:10]} to {folder}: {why}")
    index.unlink(missing_ok=True)


def applied(patch: str, folder: Path) -> str:
    """Apply a diff to the files in a folder, all of it or nothing.

    Returns:
        Why it cannot be applied; empty if it was.
    """
    # Inside of a repository, as the results folder often is, git would silently skip the files of the diff.
    outside = str(folder.resolve().parent)
    return failed(folder, ("apply", "--whitespace=nowarn", "-"), patch, GIT_CEILING_DIRECTORIES=outside)


def failed(cwd: Path, arguments: Sequence[str], given: str = "", **variables: str) -> str:
    """Call git.

    Returns:
        The first line of its complaint; empty where it did what it was asked.
    """
    environment = {key: value for key, value in os.environ.items() if key not in GIT} | variables
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=environment, input=given.encode(), capture_output=True, check=False
        )
    except OSError as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    return (said or f"exit code {done.returncode}") if done.returncode else ""


def import_path(top: Path | None, code: Path) -> tuple[str, ...]:
    """Where Python looks for modules: as here, but in `code` for what lies in the working tree `top`."""
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    if top is None:
        return tuple(dict.fromkeys(map(str, entries)))
    if OWN.is_relative_to(top):  # an editable install is not on the path
        entries.insert(0, OWN)
    moved = []
    for entry in entries:
        inside = code / entry.relative_to(top) if entry.is_relative_to(top) else entry
        moved.append(inside.resolve() if inside.is_dir() else entry)
    return tuple(dict.fromkeys(map(str, moved)))
