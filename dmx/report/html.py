"""HTML of the report's parts; the templates and every function here escape all text that is not `Markup`."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dmx import __version__

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def document(title: str, sections: Mapping[str, Markup], source: str) -> str:
    """Render a page of sections with links to them, and its source."""
    parts = [(name, anchor(name), inside) for name, inside in sections.items()]
    return TEMPLATES.get_template("page.html").render(title=title, parts=parts, version=__version__, source=source)


def anchor(title: str) -> str:
    """Return the id of a section, the target of links."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """Make one element; `class_` sets the attribute `class`."""
    given = join(*(Markup(' {}="{}"').format(key.rstrip("_"), value) for key, value in attributes.items()))
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, join(*children))


def join(*children: str) -> Markup:
    """Concatenate children."""
    return Markup("").join(children)


def text(*children: str) -> Markup:
    """Make a paragraph."""
    return tag("p", *children)


def figure(picture: Markup, caption: str) -> Markup:
    """Make a figure with a caption."""
    return tag("figure", picture, tag("figcaption", caption))


def inline(png: bytes, alt: str) -> Markup:
    """Embed a PNG in the page."""
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(b64encode(png).decode(), alt)


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), kind: str = "wide"
) -> Markup:
    """Make a table that scrolls horizontally if it is wider than the page.

    Args:
        head: The names of the columns.
        rows: The cells.
        numbers: Indices of right-aligned columns.
        kind: CSS class: `wide`, or `wide tight` for no line breaks.
    """
    return Markup(TEMPLATES.get_template("table.html").render(head=head, rows=rows, numbers=numbers, kind=kind))


def number(value: float | None) -> str:
    """Format a measured value with four digits; a dash if it is missing."""
    return "–" if value is None else f"{value:#.4g}".removesuffix(".")


def shown(value: object) -> str:
    """Format a parameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Format a duration in readable units."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def count(amount: int, noun: str) -> str:
    """Format a count with its noun in singular or plural."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
