"""The last validation sheet of the best, the median and the worst complete trial."""

from base64 import b64encode
from pathlib import Path

from dmx.report.account import Account
from dmx.report.html import Html, join, number, tag, text

SHEETS = Path("images") / "val"
"""Where a run keeps them, called after their step."""


def pictures(account: Account) -> Html:
    """What the objective's values look like."""
    complete = account.complete
    if not complete:
        return text("None: no trial is complete.")
    chosen = {"Best": complete[0], "Median": complete[len(complete) // 2], "Worst": complete[-1]}
    shown: list[str] = []
    parts: list[Html] = []
    for which, trial in chosen.items():
        if trial.asked.run in shown:
            continue
        shown.append(trial.asked.run)
        caption = f"{which} complete trial: {trial.asked.run}, {account.metric} = {number(trial.value)}"
        parts.append(_picture(account.home.run(trial.asked.run) / SHEETS, caption))
    return join(*parts)


def _picture(folder: Path, caption: str) -> Html:
    sheet = last(folder)
    if sheet is None:
        return text(f"{caption}. It has left no sheet.")
    says = f"{caption}. The sheet of its last validation, step {int(sheet.stem)}."
    return tag("figure", inline(sheet.read_bytes(), caption), tag("figcaption", says))


def inline(png: bytes, alt: str) -> Html:
    """A picture inside the page."""
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return Html(tag("img", src=source, alt=alt).removesuffix("</img>"))


def last(folder: Path) -> Path | None:
    """The sheet of the latest step."""
    return max(folder.glob("*.png"), key=lambda path: path.stem.zfill(20), default=None)
