"""Draws the layers of the import contracts in pyproject.toml: `python docs/layers.py` writes docs/layers.svg."""

import tomllib
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, HEIGHT, GAP = 860, 34, 10


def layers() -> list[list[str]]:
    """The packages of each layer, the highest layer first."""
    contracts = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["id"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def drawing(rows: list[list[str]]) -> str:
    """An SVG with a row of boxes for each layer."""
    boxes = []
    for row, names in enumerate(rows):
        width = (WIDTH - GAP * (len(names) - 1)) / len(names)
        for column, name in enumerate(names):
            x, y = column * (width + GAP), row * (HEIGHT + GAP)
            boxes.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT}" rx="6"/>')
            boxes.append(f'<text x="{x + width / 2:.1f}" y="{y + HEIGHT / 2 + 5}">{escape(name)}</text>')
    style = "rect{fill:#eef2fb;stroke:#5b6bb0}text{font:14px sans-serif;text-anchor:middle;fill:#1b2350}"
    size = f"0 0 {WIDTH} {len(rows) * (HEIGHT + GAP) - GAP}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"><style>{style}</style>'
    return "\n".join([head, *boxes, "</svg>", ""])


if __name__ == "__main__":
    (HERE / "layers.svg").write_text(drawing(layers()))
