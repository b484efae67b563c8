"""The report and its figures as files."""

import re
from pathlib import Path

from dmx.tracking.files import replace_text

NAMESPACES = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""Without them an SVG is none outside of HTML."""


def write(page: str, folder: Path) -> list[Path]:
    """Write a report and each of its figures into `folder`; gives the page's path and that of the figures' folder."""
    replace_text(folder / "report.html", page)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for section, inside in re.findall(r'<section id="([^"]*)">(.*?)</section>', page, flags=re.DOTALL):
        for i, svg in enumerate(re.findall(r"<svg.*?</svg>", inside, flags=re.DOTALL), start=1):
            replace_text(figures / f"{section}-{i}.svg", svg.replace("<svg", NAMESPACES, 1))
    return [folder / "report.html", figures]
