"""HTML that cannot be broken out of: every text is escaped but what these functions themselves made."""

from collections.abc import Sequence
from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str) -> Html:
    """One element; children that are not `Html` are escaped, and so are attributes (`class_` is `class`)."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Children one after the other, escaped where they are not `Html`."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def text(*children: str) -> Html:
    """A paragraph."""
    return tag("p", *children)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), kind: str = "wide") -> Html:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        head: The names of the columns.
        rows: The cells.
        numbers: Columns that stand to the right.
        kind: `wide`, or `wide tight`: no line is broken.
    """

    def line(cells: Sequence[str], cell: str) -> Html:
        return tag("tr", *(tag(cell, c, class_="n") if i in numbers else tag(cell, c) for i, c in enumerate(cells)))

    body = tag("tbody", *(line(row, "td") for row in rows))
    return tag("div", tag("table", tag("thead", line(head, "th")), body), class_=kind)


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
