"""The report as one HTML page that needs nothing but itself."""

from collections.abc import Callable, Mapping

from dmx import __version__
from dmx.report.account import Account
from dmx.report.html import Html, tag
from dmx.report.sections.board import board
from dmx.report.sections.contour import contour
from dmx.report.sections.history import history
from dmx.report.sections.lost import failed, pruning
from dmx.report.sections.mattered import importance
from dmx.report.sections.pictures import pictures
from dmx.report.sections.searched import searched
from dmx.report.sections.slices import slices
from dmx.report.sections.winner import winner

SECTIONS: dict[str, Callable[[Account], Html]] = {
    "What was searched": searched,
    "What won": winner,
    "The best ten": board,
    "How the search went": history,
    "What mattered": importance,
    "Each parameter by itself": slices,
    "The two that mattered most": contour,
    "What failed, and why": failed,
    "What pruning saved": pruning,
    "What it looks like": pictures,
}
CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 60rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #1f5f99; padding-bottom: .2rem; }
p { margin: .6rem 0; max-width: 46rem; overflow-wrap: anywhere; }
code { font-size: .9em; background: #eef2f6; padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
nav { font-size: .9rem; } nav a { margin-right: 1rem; color: #1f5f99; display: inline-block; }
.wide { overflow-x: auto; margin: .6rem 0; }
.tight td { white-space: nowrap; } table { border-collapse: collapse; font-size: .86rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #dde3ea; vertical-align: top; }
th { border-bottom: 1px solid #8795a5; } .n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; max-width: 40rem; } figure:has(img) { max-width: none; }
figure svg, figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .86rem; color: #51606f; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 0 1.2rem; }
footer { margin-top: 3rem; font-size: .8rem; color: #51606f; }
@media print { nav { display: none; } body { font-size: 11pt; max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .wide { overflow: visible; }
  table { font-size: 8pt; } .tight table { font-size: 6.5pt; }
  .tight td { white-space: normal; } }
"""


def page(account: Account) -> str:
    """The whole document; each section stands by itself, in the order of `SECTIONS`."""
    name = account.config.name
    sections = {title: made(account) for title, made in SECTIONS.items()}
    return document(f"Study {name}", sections, str(account.home.study(name)))


def document(title: str, sections: Mapping[str, Html], source: str) -> str:
    """A page of sections with links to them, and where it comes from."""
    parts = [tag("section", tag("h2", name), inside, id=anchor(name)) for name, inside in sections.items()]
    links = tag("nav", *(tag("a", name, href=f"#{anchor(name)}") for name in sections))
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(CSS)),
    )
    footer = tag("footer", f"Made by dmx {__version__} from {source}.")
    body = tag("body", tag("h1", title), links, *parts, footer)
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def anchor(title: str) -> str:
    """The name that a link goes to."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
