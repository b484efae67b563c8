"""The rules of the house that no linter knows, and that the linters are content."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = sorted((ROOT / "dmx").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES_OF_A_FILE = 350
LINES_OF_A_FUNCTION = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef


def lines_of(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def too_long(source: str) -> list[str]:
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    return [f"{node.name}: {lines_of(node)} lines" for node in functions if lines_of(node) > LINES_OF_A_FUNCTION]


def public(body: list[ast.stmt]) -> Iterator[Documented]:
    """Public functions and classes, and public methods of public classes; those inside of functions are private."""
    for node in body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def undocumented(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    return found + [node.name for node in public(tree.body) if not ast.get_docstring(node)]


def prints(source: str) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [f"line {node.lineno}" for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


def left_over(source: str) -> list[str]:
    """Comments that put work off."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT and is_left_over(token.string)]


def is_left_over(comment: str) -> bool:
    return re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", comment) is not None


def breaches(files: list[Path], rule) -> dict[str, list[str]]:
    return {str(file.relative_to(ROOT)): bad for file in files if (bad := rule(file.read_text(encoding="utf-8")))}


def test_the_rules_see_what_they_are_for() -> None:
    body = "\n".join("    x = 1" for _ in range(LINES_OF_A_FUNCTION))
    assert too_long(f"def f():\n{body}") == [f"f: {LINES_OF_A_FUNCTION + 1} lines"]
    assert too_long(f'def f():\n    """Some\n\n    words.\n    """\n{body[10:]}') == []
    assert undocumented("class A:\n    def f(self): ...\n    def _g(self): ...") == ["the module", "A", "f"]
    assert prints("'print()'\nx.print()\nprint(1)") == ["line 3"]
    assert left_over("x = 'TODO'  # TO" + "DO: later\n# todos are fine") == ["# TO" + "DO: later"]


def test_functions_are_short() -> None:
    assert breaches(PACKAGE + TESTS, too_long) == {}


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in PACKAGE + TESTS}
    assert {file: lines for file, lines in lengths.items() if lines > LINES_OF_A_FILE} == {}


def test_only_the_command_line_prints() -> None:
    assert breaches([file for file in PACKAGE if ROOT / "dmx/cli" not in file.parents], prints) == {}


def test_all_that_is_public_is_documented() -> None:
    assert breaches(PACKAGE, undocumented) == {}


def test_no_work_is_put_off_in_comments() -> None:
    assert breaches(PACKAGE + TESTS, left_over) == {}


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")])
def test_ruff_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
