"""`dmx data check`: find errors in single samples and between samples of a data set."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dmx.data.chunks import each_chunk
from dmx.data.layout import DatasetIndex
from dmx.data.writing import Progress
from dmx.datatools.check.comparison import compare_samples
from dmx.datatools.check.report import KINDS, Finding, Report
from dmx.datatools.check.sample import SUMMARY, check_rows

__all__ = ["KINDS", "Finding", "Report", "check"]


def check(index: DatasetIndex, *, workers: int | None = None, progress: Progress | None = None) -> Report:
    """Check every sample, and all samples together.

    Nothing is changed. The check detects files that are missing, of an unsupported format, truncated or damaged; sizes
    that differ; masks that are not binary, empty or full; depth that is unknown everywhere or out of range; quartets
    out of context; copies; groups that leak into each other or are in two parts of the official split.

    It cannot detect errors that require knowledge of the scene: depth of another image (unless it occurs twice), a mask
    or background that is off by a few pixels, in triplets any wrong mask; nor some damage to JPEGs, for which
    `dmx.datatools.check.sample` gives detection rates.

    Args:
        index: The data set.
        workers: Processes; None takes one per core where the work is worth it.
        progress: Called with how many samples of how many are done.
    """
    findings: list[Finding] = []
    summaries: list[np.ndarray] = []
    for found, summary in each_chunk(check_rows, index, workers=workers, progress=progress):
        findings += found
        summaries.append(summary)
    findings += compare_samples(index, np.concatenate(summaries) if summaries else np.zeros(0, SUMMARY))
    return Report(index.root, index.name, len(index.samples), tuple(_ordered(_merged(findings))))


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Merge findings about one background file into one, at its first sample, with the number of affected samples."""
    merged: dict[tuple[str, ...], Finding] = {}
    for one in findings:
        alone = one.role != "background" or one.figures or one.kind in ("leak", "size-differs")
        key = (one.kind, one.sample, one.role) if alone else (one.kind, str(one.file))
        if (known := merged.get(key)) is not None:
            one = replace(known, affected=known.affected + 1)
        merged[key] = one
    return list(merged.values())


def _ordered(findings: list[Finding]) -> list[Finding]:
    """Sort by kind as in `KINDS`, the worst of a kind first."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda one: (place[one.kind], -one.weight, one.sample))
