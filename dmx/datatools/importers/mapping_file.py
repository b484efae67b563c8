"""The YAML file that maps foreign pictures to samples, validated whole; `mapping` in `mapping.py` shows one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from dmx.data.declaration import DepthDeclaration, MaskDeclaration, Strict, problem_of
from dmx.data.folders import composed
from dmx.data.formats import supported, why_not
from dmx.data.listing import LEAVES
from dmx.datatools.importers.dataset import LeftOut
from dmx.errors import ConfigError, Problem
from dmx.written import read_yaml


def _pattern(text: str) -> str:
    if re.search(LEAVES, text):
        raise ValueError(f"'{text}' leaves the folder; patterns are relative to `folder`")
    if odd := re.search(r"[?\[\]{}]|\*{3}", text):
        raise ValueError(f"'{odd[0]}' is not known in a pattern; only * and ** are")
    return text


def _group(text: str) -> str:
    if text in ("folder", "id"):
        return text
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"'{text}' is neither folder, nor id, nor a regular expression ({error})") from error
    if groups != 1:
        raise ValueError(
            f"'{text}' has {groups} pairs of parentheses where one marks the group; "
            "or say `folder` (of the image) or `id`"
        )
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


class Files(Strict):
    """Patterns by role."""

    image: Pattern
    mask: Pattern
    depth: Pattern | None = None
    background: Pattern | None = None


class Columns(Strict):
    """Columns of the manifest by what they hold; without `id` the path of the image is the name."""

    id: str | None = None
    image: str
    mask: str
    depth: str | None = None
    background: str | None = None
    group: str | None = None
    split: str | None = None


class MappingFile(Strict):
    """The whole file."""

    name: str = Field(min_length=1)
    folder: str = "."
    """Where the paths begin, absolute or relative to the folder of this file."""
    files: Files | None = None
    manifest: str | None = None
    """A .csv or .parquet file, absolute or relative to the folder of this file."""
    columns: Columns | None = None
    group: Annotated[str, AfterValidator(_group)] | None = None
    """What must not be split: `folder`, `id` or a regular expression; without it the background says it."""
    depth: DepthDeclaration | None
    mask: MaskDeclaration = MaskDeclaration()
    exif: Literal["stored", "upright"] | None = None
    """What pictures are that EXIF wants to be turned; as in dataset.yaml."""
    source: str | None = None
    license: str | None = None

    def roles(self) -> dict[str, str]:
        """Return the pattern or column of each given role."""
        given = self.files or self.columns
        named = (
            {} if given is None else {role: getattr(given, role) for role in ("image", "mask", "depth", "background")}
        )
        return {role: text for role, text in named.items() if text is not None}


def read_mapping(path: Path) -> MappingFile:
    """Read and validate a mapping.

    Raises:
        UserError: The file does not exist, or is not YAML.
        ConfigError: The mapping is invalid; all problems are reported.
    """
    try:
        mapping = MappingFile.model_validate(read_yaml(path, " (a mapping; see `dmx describe importers mapping`)"))
    except ValidationError as error:
        raise ConfigError(str(path), [_problem(dict(one)) for one in error.errors()]) from error
    if problems := list(_contradictions(mapping)):
        raise ConfigError(str(path), problems)
    return mapping


def _problem(error: dict[str, Any]) -> Problem:
    """Convert one pydantic error to a `Problem` with a plain message."""
    problem = problem_of(error, MappingFile, files=Files, columns=Columns)
    if problem.where == "depth.range" and error["type"] == "missing":
        what = "is missing; give the least and the greatest depth that may occur, [0, 1] where relative"
        return Problem(problem.where, what)
    if problem.where == "depth" and error["type"] == "missing":
        return Problem(problem.where, f"{problem.what}, or null where there is none")
    return problem


def _contradictions(mapping: MappingFile) -> Iterator[Problem]:
    """Yield contradictions between keys that are valid on their own."""
    if (mapping.files is None) == (mapping.manifest is None):
        yield Problem(
            "", f"needs either `files` or `manifest`, but has {'neither' if mapping.files is None else 'both'}"
        )
    if (mapping.manifest is None) != (mapping.columns is None):
        yield Problem("columns", "comes with `manifest`, and `manifest` with it; add or drop one")
    roles = mapping.roles()
    if roles and ("depth" in roles) != (mapping.depth is not None):
        where = "files" if mapping.files else "columns"
        yield Problem(where, "has `depth` if, and only if, there is a section `depth` that says how it is stored")
    if mapping.group is None and "background" not in roles and not (mapping.columns and mapping.columns.group):
        yield Problem("group", "is missing; give `folder`, a regular expression on the name, or `id` for none")
    if mapping.files is not None:
        counts = {role: count_stars(pattern) for role, pattern in roles.items()}
        background = counts.pop("background", 0)
        if len(set(counts.values())) > 1 or counts["image"] == 0 or background > counts["image"]:
            listing = ", ".join(f"{role} {pattern}" for role, pattern in roles.items())
            yield Problem(
                "files", f"needs one star at least, as many in each role, in the background no more, but has {listing}"
            )


Key = tuple[str, ...]
"""What the stars of a pattern match in one path."""
REGEX = {"*": r"([^/]+)", "**": r"(.+)"}


def count_stars(pattern: str) -> int:
    """Count the stars, single or double, in a pattern.

    >>> count_stars("**/rgb/*.png")
    2
    """
    return len(re.findall(r"\*+", pattern))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to a regular expression: `*` matches within one folder, `**` across folders, both non-empty.

    Only the file suffix is matched case-insensitively, because cameras write it either way.

    >>> compile_pattern("rgb/*.png").fullmatch("rgb/007.PNG").groups()
    ('007',)
    """
    start, end = re.fullmatch(r"(.*?)(\.\w+)?", pattern, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    parts = [REGEX.get(part) or re.escape(part) for part in re.split(r"(\*{1,2})", start)]
    return re.compile("".join(parts) + (f"(?i:{re.escape(end)})" if end else ""))


def match_paths(
    patterns: Mapping[str, str], paths: Iterable[str], left_out: LeftOut
) -> list[tuple[Key, dict[str, str | None]]]:
    """Match paths of different roles whose stars match the same text, after Unicode normalisation.

    A background is shared by all samples whose star texts start with its own: "*/empty.png" is the background of every
    "*/rgb/*.png" in the same folder, and one without a star is the background of all samples.

    Args:
        patterns: Pattern by role. All except that of the background have the same number of stars.
        paths: The existing files.
        left_out: Receives the files that match no pattern.
    """
    found = _by_role({role: compile_pattern(composed(pattern)) for role, pattern in patterns.items()}, paths, left_out)
    backgrounds = found.pop("background", None)
    samples = []
    for key in sorted(set().union(*found.values())):
        files = {role: by_key.get(key) for role, by_key in found.items()}
        if backgrounds is not None:
            files["background"] = backgrounds.get(key[: count_stars(patterns["background"])])
        samples.append((key, files))
    return samples


def _by_role(
    patterns: Mapping[str, re.Pattern[str]], paths: Iterable[str], left_out: LeftOut
) -> dict[str, dict[Key, str]]:
    found: dict[str, dict[Key, str]] = {role: {} for role in patterns}
    several: dict[str, dict[Key, list[str]]] = {role: {} for role in patterns}
    for path in paths:
        name = composed(path)
        keys = {role: match.groups() for role, one in patterns.items() if (match := one.fullmatch(name))}
        for role, key in keys.items():
            several[role].setdefault(key, []).append(path)
        if not keys:
            why = None if supported(path, "depth") else why_not(path, "image")
            left_out.add(f"that {why}" if why else "that no pattern matches", path)
    for role, by_key in several.items():
        for key, some in by_key.items():
            if len(some) > 1:
                left_out.add("with the name of another", " and ".join(some))
            else:
                found[role][key] = some[0]
    return found
