"""What a check found, as numbers, as JSON and by kind."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmx.data.check.finding import KINDS, Finding, Severity

FORMAT = 1
"""Raised whenever a key of the JSON changes its meaning."""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        root: The folder of the data set.
        name: Its name.
        samples: How many samples were looked at.
        findings: What is wrong, by kind in the order of `KINDS`, the worst of a kind first.
    """

    root: Path
    name: str
    samples: int
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """How many findings are as bad as that."""
        return sum(one.severity == severity for one in self.findings)

    def by_kind(self) -> dict[str, list[Finding]]:
        """The findings of each kind that was found."""
        kinds: dict[str, list[Finding]] = {}
        for one in self.findings:
            kinds.setdefault(one.kind, []).append(one)
        return kinds

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data, for programs."""
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
