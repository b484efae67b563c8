"""Patterns of paths whose stars capture the name of a sample."""

import re
from collections.abc import Iterable, Mapping

from dmx.data.folders import composed
from dmx.data.formats import supported, why_not
from dmx.data.importers.bring import LeftOut

Key = tuple[str, ...]
"""What the stars of a pattern stand for in one path."""
REGEX = {"*": r"([^/]+)", "**": r"(.+)"}


def stars(pattern: str) -> int:
    """How many stars, single or double, a pattern has.

    >>> stars("**/rgb/*.png")
    2
    """
    return len(re.findall(r"\*+", pattern))


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression: `*` is anything within one folder, `**` anything at all, never nothing.

    The ending alone may be in upper case where the pattern's is not, and the other way round, as cameras write it.

    >>> compiled("rgb/*.png").fullmatch("rgb/007.PNG").groups()
    ('007',)
    """
    start, end = re.fullmatch(r"(.*?)(\.\w+)?", pattern, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    parts = [REGEX.get(part) or re.escape(part) for part in re.split(r"(\*{1,2})", start)]
    return re.compile("".join(parts) + (f"(?i:{re.escape(end)})" if end else ""))


def matched(
    patterns: Mapping[str, str], paths: Iterable[str], left_out: LeftOut
) -> list[tuple[Key, dict[str, str | None]]]:
    """Put together the paths whose stars stand for the same, however Unicode writes it.

    A background is shared by all samples whose stars begin as its own do: the pattern "*/empty.png" is the background
    of every "*/rgb/*.png" in the same folder, and one without a star is the background of all.

    Args:
        patterns: Pattern by role. All but that of the background have as many stars.
        paths: The files that there are.
        left_out: Files that match no pattern are added.
    """
    found = _by_role({role: compiled(composed(pattern)) for role, pattern in patterns.items()}, paths, left_out)
    backgrounds = found.pop("background", None)
    samples = []
    for key in sorted(set().union(*found.values())):
        files = {role: by_key.get(key) for role, by_key in found.items()}
        if backgrounds is not None:
            files["background"] = backgrounds.get(key[: stars(patterns["background"])])
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
