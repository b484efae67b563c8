"""Patterns of paths whose stars capture the name of a sample."""

import re
from collections.abc import Iterable, Mapping

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

    >>> compiled("rgb/*.png").fullmatch("rgb/007.png").groups()
    ('007',)
    """
    parts = re.split(r"(\*{1,2})", pattern)
    return re.compile("".join(REGEX.get(part) or re.escape(part) for part in parts))


def matched(
    patterns: Mapping[str, str], paths: Iterable[str], left_out: LeftOut
) -> list[tuple[Key, dict[str, str | None]]]:
    """Put together the paths whose stars stand for the same.

    A background is shared by all samples whose stars begin as its own do: the pattern "*/empty.png" is the background
    of every "*/rgb/*.png" in the same folder, and one without a star is the background of all.

    Args:
        patterns: Pattern by role. All but that of the background have as many stars.
        paths: The files that there are.
        left_out: Files that match no pattern are added.
    """
    found = _by_role({role: compiled(pattern) for role, pattern in patterns.items()}, paths, left_out)
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
    for path in paths:
        keys = {role: match.groups() for role, one in patterns.items() if (match := one.fullmatch(path))}
        for role, key in keys.items():
            found[role][key] = path
        if not keys:
            left_out.add("that no pattern matches", path)
    return found
