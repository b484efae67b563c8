"""What the documents say is so: every block of code is run, every outcome is looked up, every command is there.

A block of Python or YAML that starts with `# file: NAME` is written to that file; other Python is executed, block after
block in one namespace for each page. Of console blocks the lines after `$` are run and the lines below must be in what
they say; `...` stands for anything. `dmx train` and `dmx sweep` are not run as such, for they feed MLflow, which takes
20 s: what they would train is trained without stores, and the space of what they would search is built.
"""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click import Command, Context, Group

from dmx.cli import COMMANDS, cli, main
from dmx.config import load_experiment, load_study
from dmx.config.space import build_space
from dmx.data.declaration import read_declaration
from dmx.experiment import Tracking, prepare, run
from dmx.outcome import Outcome
from dmx.registry import REGISTRIES
from dmx.sweep.worker import STATES
from dmx.tracking import Home
from dmx.tracking.mlflow_store import STATUS

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "guide.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
READ_ONLY = ("list", "describe", "schema")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is to be written to."""
        found = re.match(r"# file: (\S+)\n", self.text)
        return found.group(1) if found else None


def blocks(path: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def lines_of_code(text: str) -> int:
    """Lines that hold code: neither blank nor comments nor docstrings."""
    tree = ast.parse(text)
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docs = [node.body[0] for node in scopes if ast.get_docstring(node)]
    inside = {line for doc in docs for line in range(doc.lineno, (doc.end_lineno or doc.lineno) + 1)}
    code = enumerate(text.splitlines(), start=1)
    return sum(bool(line.split("#")[0].strip()) and number not in inside for number, line in code)


@pytest.mark.parametrize("page", ["add_a_loss", "add_a_metric", "add_a_model"])
def test_a_component_takes_less_than_thirty_lines(page):
    first = next(block for block in blocks(ROOT / "docs" / f"{page}.md") if block.file)
    assert 10 < lines_of_code(first.text) < 30


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it must say."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *said = part.splitlines()
        yield command, [squeezed(line) for line in said if line.strip() not in ("", "...")]


def squeezed(text: str) -> str:
    return " ".join(text.split())


class Reader:
    """Does in an empty folder what a page says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.monkeypatch, self.capfd = folder, monkeypatch, capfd
        self.names: dict[str, Any] = {"__name__": "page"}

    def follow(self, block: Block) -> None:
        if block.file is not None:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, "page", "exec"), self.names)
        elif block.language == "console":
            for command, expected in commands(block.text):
                said = squeezed(self.type(command))
                assert [line for line in expected if line not in said] == [], said
        else:
            assert block.language == "toml", f"nothing executes {block.language or 'unnamed'} blocks: {block.text}"
            (module,) = tomllib.loads(block.text)["project"]["entry-points"]["dmx.components"].values()
            assert (self.folder / f"{module}.py").is_file()

    def type(self, command: str) -> str:
        """What a command says."""
        match shlex.split(command):
            case ["export", "PYTHONPATH=$PWD"]:
                self.monkeypatch.syspath_prepend(self.folder)
                self.monkeypatch.setenv("PYTHONPATH", str(self.folder))
                return ""
            case ["dmx", "train", file]:
                return self.train(Path(file))
            case ["dmx", "sweep", file]:
                return " ".join(dimension.path for dimension in build_space(load_study(Path(file))).dimensions)
            case ["dmx", *arguments]:
                return self.dmx(arguments)
            case ["python", *arguments]:
                done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout
        raise AssertionError(f"nothing runs this: {command}")

    def dmx(self, arguments: list[str]) -> str:
        self.monkeypatch.setattr(sys, "argv", ["dmx", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self.capfd.readouterr()
        assert ended.value.code == 0, said.err
        return said.out

    def train(self, file: Path) -> str:
        home = Home(self.folder / "mlruns")
        prepared = prepare(load_experiment(file), home)
        result, _ = run(prepared, home, "one", Tracking("page", stores=False))
        assert result.outcome is Outcome.COMPLETE, result.reason
        return str(result.outcome)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Block], None]]:
    """A reader; what it registers is forgotten after it."""
    before = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    yield Reader(tmp_path, monkeypatch, capfd).follow
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]
            for registry in REGISTRIES.values():
                for key in [key for key, one in registry.items() if one.function.__module__ == name]:
                    del registry[key]
    assert all(before[kind].items() <= registry.items() for kind, registry in REGISTRIES.items())


# The guide's configurations extend each other and have a test of their own.
WITH_BLOCKS = [page for page in PAGES if page != GUIDE and blocks(page)]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in WITH_BLOCKS])
def test_every_block_of_a_page_does_what_it_says(page: Path, reader: Callable[[Block], None]) -> None:
    for block in blocks(page):
        reader(block)


def test_there_are_pages_with_blocks() -> None:
    assert {"add_a_loss", "add_a_metric", "add_a_model", "conventions", "search", "your_data"} <= {
        page.stem for page in WITH_BLOCKS
    }


def typed() -> Iterator[tuple[str, ...]]:
    """The arguments of every `dmx` line of all pages; `a|b` stands for one line each, two blanks end it."""
    lines = {line for page in PAGES for line in re.findall(r"^ {4}dmx (.+)$", page.read_text("utf-8"), re.MULTILINE)}
    for line in sorted(lines):
        words = shlex.split(re.split(r" {2,}| > ", line)[0])
        yield from product(*(word.split("|") for word in words))


@pytest.mark.parametrize("arguments", [pytest.param(words, id=" ".join(words)) for words in sorted({*typed()})])
def test_what_the_pages_type_is_understood(arguments: Sequence[str], reader: Callable[[Block], None]) -> None:
    """Those commands that only look are run; of the others the arguments are parsed."""
    if arguments[0] in READ_ONLY:
        reader(Block("console", f"$ dmx {' '.join(arguments)}\n"))
    else:
        command: Command | None = cli
        while isinstance(command, Group):
            name, *arguments = arguments
            command = command.get_command(Context(command), name)
        assert command is not None
        command.make_context(command.name, list(arguments))


def test_the_configurations_of_the_guide_are_legal(tmp_path: Path) -> None:
    assert {"train", "sweep", "list"} <= {words[0] for words in typed()}
    named = {re.match(r"# (\S+)\n", block.text)[1]: block.text for block in blocks(GUIDE) if block.language == "yaml"}
    mine = {f"experiments/mine{end}.yaml" for end in ("", "_lite", "_study")}
    assert set(named) == {"dataset.yaml", "experiments/fine_tuned.yaml", *mine}
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    for name, text in named.items():
        (tmp_path / name).write_text(text)
    assert read_declaration(tmp_path).name == "mine"
    assert load_experiment(tmp_path / "experiments/mine.yaml", ["optimizer.lr=3e-4"]).optimizer.lr == 3e-4
    lite = load_experiment(tmp_path / "experiments/mine_lite.yaml", ["start=mine-1f2e3d4c"])
    assert (lite.model.weights, lite.groups.encoder_lr, lite.start) == ("in1k", 0, "mine-1f2e3d4c")
    assert load_experiment(tmp_path / "experiments/fine_tuned.yaml", []).depth_link == "auto"
    paths = {
        dimension.path for dimension in build_space(load_study(tmp_path / "experiments/mine_study.yaml")).dimensions
    }
    assert {"model", "model.depthmasknet.width", "stages.0.batch_size", "optimizer.sgd.lr"} <= paths


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_the_commands_files_and_pages_that_a_page_mentions_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`dmx ([a-z][a-z-]*)", text)) <= set(COMMANDS)
    links = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    if page.name != "CHANGELOG.md":  # which names what has been
        assert [path for path in re.findall(PATHS, text) if not exists(path)] == []


PATHS = r"`((?:dmx|tests|docs|benchmarks|experiments)/[\w./]+)`"


def exists(path: str) -> bool:
    """Whether it is there, or is the reader's own, to be put beside those that are."""
    return (ROOT / path).exists() or "cauchy" in path


def test_the_drawing_of_the_layers_is_that_of_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    module = importlib.import_module("layers")
    assert (ROOT / "docs/layers.svg").read_text() == module.drawing(module.layers()), "run `python docs/layers.py`"


def test_outcomes_map_to_what_the_table_says() -> None:
    text = (ROOT / "docs/conventions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z-]+) \| ([A-Z]+) \| ([A-Z]+) \|$", text, re.MULTILINE)
    optuna = {outcome: STATES[outcome].name if outcome in STATES else "FAIL" for outcome in Outcome}
    optuna[Outcome.INTERRUPTED] = "WAITING"  # `TrialQueue.release` puts it back into the queue
    assert rows == [(str(outcome), optuna[outcome], STATUS.get(outcome, "FAILED")) for outcome in Outcome]


def test_the_reader_sees_a_page_that_says_what_is_not_so(reader: Callable[[Block], None]) -> None:
    with pytest.raises(AssertionError, match="a loss of nobody"):
        reader(Block("console", "$ dmx describe losses silog\na loss of nobody\n"))
    with pytest.raises(AssertionError, match="no component 'silogg'"):
        reader(Block("console", "$ dmx describe losses silogg\n"))
    with pytest.raises(AssertionError, match="nothing runs this: rm"):
        reader(Block("console", "$ rm -r data\n"))
    with pytest.raises(AssertionError, match="nothing executes unnamed blocks"):
        reader(Block("", "dmx train x\n"))
