"""Everything that is wrong with a mapping is said in one message."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dmx.datatools.importers.mapping_file import read_mapping
from dmx.errors import ConfigError, UserError

RIGHT: dict[str, Any] = {
    "name": "office",
    "files": {"image": "rgb/*.png", "mask": "mask/*.png", "depth": "depth/*.png"},
    "group": "folder",
    "depth": {"kind": "metric", "range": [0.5, 10]},
}


def problems(tmp_path: Path, **changes: Any) -> list[str]:
    """What is said of the mapping with these keys changed; `...` leaves a key out."""
    path = tmp_path / "mapping.yaml"
    given = {key: value for key, value in {**RIGHT, **changes}.items() if value is not ...}
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(ConfigError) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path} has {len(caught.value.problems)} problem")
    return [str(problem) for problem in caught.value.problems]


def test_right(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(RIGHT))
    assert read_mapping(tmp_path / "mapping.yaml").roles() == RIGHT["files"]


def test_all_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        nmae="x",
        files={"image": "../rgb/*.png", "mask": "mask/?.png", "dpeth": "d/*.png"},
        depth={"kind": "metric", "scael": 1},
        mask={"threshold": 3, "labels": [1]},
        group="scene_[",
    )
    assert found == [
        "files.image: '../rgb/*.png' leaves the folder; patterns are relative to `folder`",
        "files.mask: '?' is not known in a pattern; only * and ** are",
        "files.dpeth: unknown key; did you mean 'depth'? Known: background, depth, image, mask",
        "group: 'scene_[' is neither folder, nor id, nor a regular expression (unterminated character set at "
        "position 6)",
        "depth.range: is missing; give the least and the greatest depth that may occur, [0, 1] where relative",
        "depth.scael: unknown key; did you mean 'scale'? Known: channel, form, kind, near, offset, outside, range, "
        "rotated, scale, unknown",
        "mask: `threshold` and `labels` exclude each other, but got 3 and [1]; drop one",
        "nmae: unknown key; did you mean 'name'? Known: columns, depth, exif, files, folder, group, license, manifest, "
        "mask, name, source",
    ]


STARS = "files: needs one star at least, as many in each role, in the background no more, but has "


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"depth": ...}, "depth: is missing; add it, or null where there is none"),
        (
            {"depth": {"kind": "metric", "range": [5, 1]}},
            "depth.range: `low` must be below `high`, but got low=5.0, high=1.0; swap them",
        ),
        ({"name": ...}, "name: is missing; add it"),
        ({"name": 3}, "name: Input should be a valid string, but got 3"),
        (
            {"files": {"image": "/rgb/*.png", "mask": "m/*"}},
            "files.image: '/rgb/*.png' leaves the folder; patterns are",
        ),
        (
            {"group": "scene"},
            "group: 'scene' has 0 pairs of parentheses where one marks the group; or say `folder` (of",
        ),
        ({"group": ...}, "group: is missing; give `folder`, a regular expression on the name, or `id` for none"),
        ({"depth": None}, "files: has `depth` if, and only if, there is a section `depth` that says how it is stored"),
        ({"files": {"image": "i/*", "mask": "m/*"}}, "files: has `depth` if, and only if, there is a section `depth`"),
        ({"files": ...}, "needs either `files` or `manifest`, but has neither"),
        (
            {"columns": {"image": "i", "mask": "m"}},
            "columns: comes with `manifest`, and `manifest` with it; add or drop",
        ),
        (
            {"files": {"image": "i", "mask": "m", "depth": "d"}},
            STARS + "image i, mask m, depth d",
        ),
        (
            {"files": {"image": "*/i/*", "mask": "m/*", "depth": "*/d/*"}},
            STARS + "image */i/*, mask m/*, depth */d/*",
        ),
        (
            {"files": {"image": "i/*", "mask": "m/*", "depth": "d/*", "background": "*/b/*"}},
            STARS + "image i/*, mask m/*, depth d/*, background */b/*",
        ),
    ],
)
def test_one_problem(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    (found,) = problems(tmp_path, **changes)
    assert found.startswith(expected)


def test_both_ways(tmp_path: Path) -> None:
    assert problems(tmp_path, manifest="list.csv") == [
        "needs either `files` or `manifest`, but has both",
        "columns: comes with `manifest`, and `manifest` with it; add or drop one",
    ]


def test_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    with pytest.raises(UserError) as caught:
        read_mapping(path)
    assert str(caught.value) == f"no file {path} (a mapping; see `dmx describe importers mapping`); check the path."
    path.write_text("a: [")
    with pytest.raises(UserError, match=r"mapping.yaml is not readable YAML: line 1, column 5: while parsing"):
        read_mapping(path)
    path.write_text("name: a\nname: b\n")
    with pytest.raises(UserError, match=r"mapping.yaml is not readable YAML: line 2: key 'name' is given twice"):
        read_mapping(path)
    path.write_text("just words")
    with pytest.raises(UserError, match=r"mapping.yaml must hold a mapping of keys to values, but holds str"):
        read_mapping(path)
