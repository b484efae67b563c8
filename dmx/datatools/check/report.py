"""Kinds of findings, and the report of a check: as counts, as JSON and by kind."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding: its severity and its meaning."""

    severity: Severity
    meaning: str


KINDS: Mapping[str, Kind] = {
    "missing": Kind("error", "a picture is not there"),
    "empty-file": Kind("error", "a file without a byte"),
    "foreign": Kind("error", "a file that is no picture of a known format"),
    "truncated": Kind("error", "a picture whose end is missing"),
    "damaged": Kind("error", "a picture with changed bytes"),
    "unreadable": Kind("error", "a picture that its role cannot be read from"),
    "turned": Kind("error", "EXIF turns some pictures of a sample and not others, and the sizes do not settle it"),
    "size-differs": Kind("error", "pictures of one sample that differ in size"),
    "mask-not-binary": Kind("error", "a mask with more than two values and no declared threshold"),
    "mask-empty": Kind("error", "a mask without an object"),
    "mask-full": Kind("error", "a mask that covers everything"),
    "mask-unknown": Kind("error", "a mask without a known pixel"),
    "depth-unknown": Kind("error", "depth without a known pixel"),
    "depth-range": Kind("error", "depth out of the declared range"),
    "background-differs": Kind("error", "image and background differ outside of the mask"),
    "mask-misplaced": Kind("error", "image and background agree where the mask says that the object is"),
    "duplicate": Kind("error", "the same image and mask under two ids"),
    "leak": Kind("error", "the same background or image in two groups"),
    "group-torn": Kind("error", "a group in two parts of the official split"),
    "image-repeated": Kind("warning", "the same image with two masks"),
    "depth-repeated": Kind("warning", "the same depth under two images"),
    "no-object": Kind("warning", "a mask without an object in a triplet, which may be meant"),
    "size-unusual": Kind("warning", "a sample of another size than nine of ten"),
}
"""Every kind of finding by slug, in display order."""


@dataclass(frozen=True)
class Finding:
    """One problem of one sample.

    Attributes:
        sample: The id of the sample.
        role: The affected picture's role; "sample" if it concerns all of them.
        file: The picture, relative to the folder of pictures; None if it concerns several.
        kind: One of `KINDS`.
        text: What is wrong with the values, and what to do.
        weight: How bad it is among findings of its kind; greater is worse.
        affected: Number of affected samples, if a file is shared.
        figures: Measured values.
    """

    sample: str
    role: str
    file: str | None
    kind: str
    text: str
    weight: float = 0.0
    affected: int = 1
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """The severity of its kind."""
        return KINDS[self.kind].severity


FORMAT = 1
"""Version of the JSON; incremented whenever the meaning of a key changes."""


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        root: The folder of the data set.
        name: Its name.
        samples: Number of samples checked.
        findings: The findings, by kind in the order of `KINDS`, the worst of a kind first.
    """

    root: Path
    name: str
    samples: int
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Return the number of findings of this severity."""
        return sum(one.severity == severity for one in self.findings)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Group the findings by kind."""
        kinds: dict[str, list[Finding]] = {}
        for one in self.findings:
            kinds.setdefault(one.kind, []).append(one)
        return kinds

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data, for programs."""
        counts = Counter(one.kind for one in self.findings)
        return {
            "format": FORMAT,
            "root": str(self.root),
            "name": self.name,
            "samples": self.samples,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "kinds": {
                name: {"severity": kind.severity, "meaning": kind.meaning, "count": counts[name]}
                for name, kind in KINDS.items()
            },
            "findings": [{**asdict(one), "severity": one.severity} for one in self.findings],
        }

    def write_json(self, path: Path) -> None:
        """Write `as_json` to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
