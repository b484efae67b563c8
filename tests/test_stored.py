"""What dmx wrote itself and what became of it since."""

import ast
import os
from pathlib import Path

import pytest

import dmx
from dmx.errors import UserError
from dmx.stored import intact, read_json, read_mapping, replace_bytes, replace_text, replacing

ADVICE = "restore it."


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"[NaN]", "ValueError: NaN is no number of JSON"),
        (b"-Infinity", "ValueError: -Infinity is no number of JSON"),
        (b"\xff", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[]", "TypeError: holds list where keys and values are needed"),
        (b"null", "TypeError: holds NoneType where keys and values are needed"),
        (b'{"b": 1}', "KeyError: 'lacks a'"),
    ],
)
def test_damaged_json(data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_mapping(path, ADVICE, "a")
    assert str(caught.value) == f"{path}: is damaged ({what}); restore it."


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5_000])
def test_json_that_no_reader_gets_to_the_end_of(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged \((RecursionError|ValueError): "):
        read_json(path, ADVICE)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_json(tmp_path / "x.json", ADVICE)
    assert str(caught.value) == f"{tmp_path / 'x.json'}: is gone; restore it."


def test_whole_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": [1, 2.5, null, "ä"]}', encoding="utf-8")
    assert read_mapping(path, ADVICE, "a") == {"a": [1, 2.5, None, "ä"]}


def test_what_a_reader_says_is_cut_and_a_message_of_ours_is_kept() -> None:
    path = Path("x")
    with (
        pytest.raises(UserError, match=r"^x: is damaged \(RuntimeError: (a ){93}\); restore it\.$"),
        intact(path, ADVICE),
    ):
        raise RuntimeError("a\n" * 100_000)
    with pytest.raises(UserError, match="as it was"), intact(path, ADVICE):
        raise UserError("as it was")


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    replace_text(path, "old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as part, part.open("w") as file:
        file.write("half of the n" + "\udc80")
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "old"
    with replacing(path, tmp_path / "elsewhere") as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "new"


def test_only_what_is_durable_waits_for_the_disk_and_does_so_before_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(("fsync", path.exists())))
    path = tmp_path / "deep" / "x"
    replace_bytes(path, b"1")
    assert seen == []
    path.unlink()
    replace_text(path, "ü")
    assert seen == [("fsync", False)]
    assert path.read_bytes() == "ü".encode()


def test_files_are_replaced_in_one_place_only() -> None:
    """`Path.replace` takes one argument, `str.replace` two."""
    package = Path(dmx.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace"
        if len(node.args) == 1 or ast.unparse(node.func.value) in ("os", "shutil")
    }
    assert found == {"stored.py"}
