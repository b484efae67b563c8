"""What people write: one reader of YAML and one of paths, and messages that stay short."""

import os
import pickle
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.errors import LONGEST, ConfigError, DataError, Problem, UserError, did_you_mean, shortened
from dmx.written import LARGEST, not_filled_in, parsed, place, read_yaml

BILLION = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[(text, 1e-3) for text in ("1e-3", "1E-3", ".001", "1.e-3", "+1e-3", ".1e-2", "0.1E-2")],
        *[("1.5e3", 1500), (".5e3", 500), ("-2e2", -200), ("0e0", 0), ("1e+2", 100)],
    ],
)
def test_every_way_to_write_a_number_is_a_number(text: str, number: float) -> None:
    found = parsed(f"x: {text}")["x"]
    assert type(found) is float
    assert found == number


@pytest.mark.parametrize("text", ["e5", "1e", "e", "1e-", "-e3", ".e3", "1e3x"])
def test_what_only_looks_like_a_number_is_a_text(text: str) -> None:
    assert parsed(f"x: {text}") == {"x": text}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' is given twice"),
        ("a: {b: 1, b: 2}\n", "line 1: key 'b' is given twice"),
        ("- a: 1\n  b: 2\n  a: 3\n", "line 3: key 'a' is given twice"),
        ("1: a\n0x1: b\n", "line 2: key '1' is given twice"),
        ("a: 1\n\tb: 2\n", "line 2, column 1: while scanning for the next token, found character '\\t' that"),
        ("a: [1\n", "line 2, column 1: while parsing a flow sequence, expected ',' or ']'"),
        ("x: &a [*a]", "line 1: an alias contains itself"),
        (BILLION, "line 5: comes to more than 100,000 values"),
        ("[" * 5000, "is nested too deeply"),
        ("? [1, 2]\n: 3", "line 1: a list or a mapping cannot be a key"),
        ("d: 2024-13-45", "line 1: '2024-13-45' is no timestamp (month must be in 1..12)"),
        ("x: !!bool maybe", "line 1: 'maybe' is no bool"),
        ("a: \0", "unacceptable character #x0000: special characters are not allowed"),
        ("a: 1\n---\nb: 2\n", "expected a single document in the stream, but found another document"),
        ("x: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
        ("x: *nowhere", "line 1, column 4: found undefined alias 'nowhere'"),
    ],
)
def test_yaml_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(text)


def test_aliases_and_merged_mappings_are_read_as_yaml_says() -> None:
    assert parsed("b: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\nd: *b\n")["c"] == {"x": 1, "y": 3}
    assert parsed("") is None


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        parsed(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must hold a mapping of keys to values, but holds nothing."),
        (b"- 1\n", "must hold a mapping of keys to values, but holds list."),
        ("a: ü".encode("utf-16"), "is not readable YAML: it is not text in UTF-8 ("),
        (b"a: " + b"x" * LARGEST, "is larger than 1 MiB, so it is no YAML that a person wrote."),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path} {message}")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: x\r\n")
    assert read_yaml(tmp_path / "a.yaml") == {"name": "x"}


@pytest.mark.parametrize("name", ["nowhere.yaml", "\0", "x" * 100_000, "a/" * 50_000])
def test_a_path_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"check the path\.$") as caught:
        read_yaml(tmp_path / name)
    assert len(str(caught.value)) < 2000


def test_the_home_folder_is_the_only_thing_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("WHERE", "/data")
    assert place("~/a/b") == place(Path("~/a/b")) == Path("/home/me/a/b")
    assert place("~") == Path("/home/me")
    assert place("a/~/b") == Path("a/~/b")
    assert place("./~") == Path("~")
    assert place("$WHERE/a") == Path("$WHERE/a")
    assert not_filled_in(Path("a/${WHERE}/b")) == " (${WHERE} is taken literally: variables are not filled in)"
    assert not_filled_in(Path("a/b")) == not_filled_in(Path("a/$")) == ""


def test_a_home_folder_that_nobody_knows_stays_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\0b", "no path: it holds a zero byte"), ("ü" * 200, "too long"), ("a/" * 3000, "too long")],
)
def test_paths_that_no_file_can_have(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        place(text)


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    assert os.fsencode(place(os.fsdecode(b"x\xff"))) == b"x\xff"


@given(
    st.text(max_size=50) | st.integers(0, 6000).map(lambda n: "x" * n) | st.integers(0, 3000).map(lambda n: "a b" * n)
)
def test_messages_are_short_and_keep_both_ends(text: str) -> None:
    said = str(UserError(f"begin {text} end; do this."))
    assert len(said) < 2000
    assert said.startswith("begin ")
    assert said.endswith(" end; do this.")
    if len(text) < 200:
        assert said == f"begin {text} end; do this."


def test_a_long_value_loses_its_middle() -> None:
    said = shortened("a.yaml: name 'b" + "x" * 100_000 + "y' is too long; shorten it.")
    assert said.startswith("a.yaml: name 'bxxx")
    assert said.endswith("xxxxy' is too long; shorten it.")
    assert " more characters) ... " in said
    assert len(said) < 400


def test_many_problems_are_counted() -> None:
    error = ConfigError(
        "a.yaml", [Problem(f"stages.{i}.epochs", "must be greater than 0, but got -1") for i in range(99)]
    )
    text = str(error)
    assert len(text) < 2000
    assert len(error.problems) == 99
    assert text.startswith("a.yaml has 99 problems:\n  stages.0.epochs: must be")
    shown = text.count("\n  stages.")
    assert text.endswith(f"\n  and {99 - shown} more")
    assert shown > 20
    one = ConfigError("x" * 9000, [Problem("name", "y" * 9000), Problem("z" * 9000, "must be" + " more" * 9000)])
    assert len(str(one)) < 2000


def test_a_short_word_proposes_the_names_that_have_it_in_them() -> None:
    runs = ["demo-00000001", "nyuv2-1f2e3d4c", "nyuv2-5a6b7c8d", "nyuv2-9e8d7c6b", "nyuv2-aaaaaaaa"]
    three = "did you mean 'nyuv2-1f2e3d4c' or 'nyuv2-5a6b7c8d' or 'nyuv2-9e8d7c6b'? Known: "
    assert did_you_mean("nyu", runs, 3).startswith(three)
    assert did_you_mean("5A6B", runs, 3).startswith("did you mean 'nyuv2-5a6b7c8d'? Known: ")
    assert did_you_mean("n", runs, 3).startswith("Known: ")


def test_many_known_names_are_counted() -> None:
    said = did_you_mean("x", [f"name{i:04d}" for i in range(1000)])
    assert said.startswith("Known: name0000, name0001, ")
    assert said.endswith(", and 910 more")
    assert did_you_mean("x", ["y" * 5000]) == f"Known: {'y' * 5000}"


@pytest.mark.parametrize("kind", [UserError, DataError])
def test_an_error_goes_from_process_to_process(kind: type[UserError]) -> None:
    assert str(pickle.loads(pickle.dumps(kind("a b")))) == "a b"
    assert LONGEST < 2000
