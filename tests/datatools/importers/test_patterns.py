"""Patterns: what the stars stand for, over made-up paths."""

from typing import Literal
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.data.folders import composed
from dmx.datatools.importers.dataset import LeftOut
from dmx.datatools.importers.mapping_file import compile_pattern, count_stars, match_paths

# a name without the literal pieces that the patterns are made of below, so that it can be cut in one way only
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/*_.", exclude_categories=("Cs", "Cc")), min_size=1
).map(composed)
LITERALS = st.sampled_from(["_", ".png", "/", "/rgb/", "._", "__"])


@given(st.lists(st.tuples(NAMES, LITERALS), min_size=1, max_size=4))
def test_stars_give_back_what_was_put_in(parts: list[tuple[str, str]]) -> None:
    names = tuple(name for name, _ in parts)
    pattern = "".join("*" + literal for _, literal in parts)
    path = "".join(name + literal for name, literal in parts)
    match = compile_pattern(pattern).fullmatch(path)
    assert match is not None
    assert match.groups() == names
    assert count_stars(pattern) == len(names)


@given(st.text(min_size=1).filter(lambda text: "*" not in text))
def test_what_is_no_star_stands_for_itself_alone(text: str) -> None:
    assert compile_pattern(text).fullmatch(text)
    assert not compile_pattern(text).fullmatch(text + "x")


@given(st.lists(NAMES, min_size=2, max_size=4))
def test_one_star_stays_in_its_folder_and_two_do_not(names: list[str]) -> None:
    path = "/".join(names) + ".png"
    assert not compile_pattern("*.png").fullmatch(path)
    match = compile_pattern("**.png").fullmatch(path)
    assert match is not None
    assert match[1] == "/".join(names)


@given(st.dictionaries(NAMES, st.sets(st.sampled_from(["image", "mask", "depth"]), min_size=1), max_size=8))
def test_files_are_put_together_by_name(there: dict[str, set[str]]) -> None:
    patterns = {role: f"{role}/*.png" for role in ("image", "mask", "depth")}
    paths = [f"{role}/{name}.png" for name, roles in there.items() for role in roles]
    left_out = LeftOut()
    found = match_paths(patterns, [*paths, "notes.txt"], left_out)
    assert found == [
        ((name,), {role: f"{role}/{name}.png" if role in there[name] else None for role in patterns})
        for name in sorted(there)
    ]
    assert left_out.counts() == {"that no pattern matches (notes.txt)": 1}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_the_same_in_both_forms_and_paths_stay_as_they_are(form: Literal["NFC", "NFD"]) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    image, mask = normalize(form, "é/\u00c9.png"), normalize(other, "m/\u00c9.png")
    found = match_paths({"image": normalize(other, "é/*.png"), "mask": "m/*.png"}, [image, mask], LeftOut())
    assert found == [(("\u00c9",), {"image": image, "mask": mask})]


@pytest.mark.parametrize(
    ("pattern", "first", "second"),
    [
        ("*/empty.png", "a/empty.png", "b/empty.png"),
        ("*/bg/*.png", "a/bg/1.png", "b/bg/1.png"),
        ("empty.png", "empty.png", "empty.png"),
    ],
)
def test_background_is_shared_by_what_begins_alike(pattern: str, first: str, second: str) -> None:
    patterns = {"image": "*/rgb/*.png", "mask": "*/mask/*.png", "background": pattern}
    paths = [f"{scene}/{role}/1.png" for scene in "ab" for role in ("rgb", "mask")]
    found = match_paths(patterns, [*paths, *{first, second}], LeftOut())
    assert [(key, files["background"]) for key, files in found] == [(("a", "1"), first), (("b", "1"), second)]
