from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from dmx.config import StudyConfig, parse_study

VOID = ("meta", "img")


@dataclass
class Section:
    """The texts of one section, and its tables cell by cell."""

    said: str = ""
    rows: list[list[str]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page as a browser understands it; an element that is not closed in order fails."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: dict[str, Section] = {}
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "action", "data")]
        if tag == "section":
            self.sections[dict(attrs)["id"] or ""] = Section()
        if self.inside is not None:
            self.inside.tags.append(tag)
            if tag == "tr":
                self.inside.rows.append([])
            if tag in ("td", "th"):
                self.inside.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside is None:
            return
        self.inside.said += data
        if {"td", "th"} & set(self.open):
            self.inside.rows[-1][-1] += data

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:  # of SVG
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    @property
    def inside(self) -> Section | None:
        return list(self.sections.values())[-1] if "section" in self.open or "section" in self.tags[-1:] else None


@pytest.fixture
def parse() -> Callable[[str], Page]:
    return Page


def study_of(data: Path, **changes: Any) -> dict[str, Any]:
    experiment = {
        "name": "tiny",
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 2, "size": 32, "batch_size": 8}],
    }
    return {
        "name": "tiny",
        "experiment": experiment,
        "search": {
            "optimizer.adamw.lr": {"low": 1e-5, "high": 1e-2, "log": True},
            "loss.depth": ["silog", "l1"],
            "model.depthmasknet.width": [4, 6],
        },
        "trials": 9,
        "pruner": {"name": "median", "startup_trials": 5, "warmup_epochs": 0},
        "train_best": {"finalists": 2, "seeds": [0, 1]},
        **changes,
    }


@pytest.fixture(scope="session")
def swept(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a study of nine trials and without `train-best`."""
    from dmx.cli import cli

    folder = tmp_path_factory.mktemp("swept")
    (folder / "study.yaml").write_text(yaml.safe_dump(study_of(tiny_data)))
    cli(["sweep", str(folder / "study.yaml"), "--home", str(folder / "home")], standalone_mode=False)
    return folder / "home"


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return parse_study(study_of(tmp_path), "study")


@pytest.fixture
def made() -> Callable[..., optuna.Study]:
    """An Optuna study in memory; one keyword dictionary a trial, as `optuna.trial.create_trial` wants it."""

    def make(*trials: dict[str, Any], directions: Sequence[str] = ("minimize",)) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(directions=list(directions))
        for given in trials:
            study.add_trial(optuna.trial.create_trial(**given))
        return study

    return make
