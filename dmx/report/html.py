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
    """A page of sections with links to them, and where it comes from."""
    parts = [(name, anchor(name), inside) for name, inside in sections.items()]
    return TEMPLATES.get_template("page.html").render(title=title, parts=parts, version=__version__, source=source)


def anchor(title: str) -> str:
    """The name that a link goes to."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """One element; `class_` is the attribute `class`."""
    given = join(*(Markup(' {}="{}"').format(key.rstrip("_"), value) for key, value in attributes.items()))
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, join(*children))


def join(*children: str) -> Markup:
    """Children one after the other."""
    return Markup("").join(children)


def text(*children: str) -> Markup:
    """A paragraph."""
    return tag("p", *children)


def figure(picture: Markup, caption: str) -> Markup:
    """A picture with what it shows."""
    return tag("figure", picture, tag("figcaption", caption))


def inline(png: bytes, alt: str) -> Markup:
    """A picture inside the page."""
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(b64encode(png).decode(), alt)


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), kind: str = "wide"
) -> Markup:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        head: The names of the columns.
        rows: The cells.
        numbers: Columns that stand to the right.
        kind: `wide`, or `wide tight`: no line is broken.
    """
    return Markup(TEMPLATES.get_template("table.html").render(head=head, rows=rows, numbers=numbers, kind=kind))


def number(value: float | None) -> str:
    """A measured value in four digits; a dash where there is none."""
    return "–" if value is None else f"{value:#.4g}".removesuffix(".")


def shown(value: object) -> str:
    """A parameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def count(amount: int, noun: str) -> str:
    """An amount with its noun."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
