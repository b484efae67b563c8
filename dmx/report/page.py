"""The report as one self-contained HTML page, and as files."""

import re
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from dmx.report.html import document
from dmx.report.plots import contour, history, importance, slices
from dmx.report.study_data import StudyData
from dmx.report.summary import board, failures, pictures, pruning, searched
from dmx.report.winner import winner
from dmx.stored import replace_text
from dmx.tracking.home import REPORT

SECTIONS: dict[str, Callable[[StudyData], Markup]] = {
    "What was searched": searched,
    "What won": winner,
    "The best ten": board,
    "How the search went": history,
    "What mattered": importance,
    "Each parameter by itself": slices,
    "The two that mattered most": contour,
    "What failed, and why": failures,
    "What pruning saved": pruning,
    "What it looks like": pictures,
}
NAMESPACES = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""XML namespaces, which an SVG needs outside of HTML."""


def page(study: StudyData) -> str:
    """Render the whole page, with independent sections in the order of `SECTIONS`."""
    sections = {title: made(study) for title, made in SECTIONS.items()}
    return document(f"Study {study.config.name}", sections, str(study.home.study(study.config.name)))


def write(page: str, folder: Path) -> list[Path]:
    """Write a report and each of its figures into `folder`.

    Returns:
        The page's path and that of the figures' folder.
    """
    replace_text(folder / REPORT, page)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for section, inside in re.findall(r'<section id="([^"]*)">(.*?)</section>', page, flags=re.DOTALL):
        for i, svg in enumerate(re.findall(r"<svg.*?</svg>", inside, flags=re.DOTALL), start=1):
            replace_text(figures / f"{section}-{i}.svg", svg.replace("<svg", NAMESPACES, 1))
    return [folder / REPORT, figures]
