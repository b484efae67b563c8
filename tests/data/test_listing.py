"""The list of samples: what is written is read, and whatever is wrong with it is said."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.layout import read
from dmx.data.listing import read_samples
from dmx.data.samples import Record
from dmx.data.writing import write_samples
from dmx.errors import DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,group,image,mask\n",
            ": column depth is missing; the first line must name id,group,image,mask,depth.",
        ),
        (
            "id,group,image,image,mask,depth\n",
            ": the column 'image' is twice in the first line; take one of the two away.",
        ),
        ("id;group;image;mask;depth\n", ": has semicolons between its cells; save it with commas."),
        ("id\tgroup\timage\tmask\tdepth\n", ": has tabs between its cells; save it with commas."),
        (
            "id, group, image, mask, depth\n",
            ": the column ' group' begins or ends with a blank; take the blanks beside commas away.",
        ),
        (
            "id,group,image,mask,depth,splt\n",
            ": unknown column 'splt'; did you mean 'split'? Known: background, depth, group, id, image, mask, split.",
        ),
        ("id,group,image,mask,depth\na,,i,m,d\n", ": mend these:\n  line 2: group is empty"),
        (
            "id,group,image,mask,depth\n\na,g,i,m,d\n\n\nb,,i,m,d\nc,g,i,m,d,x\n",
            ": mend these:\n  line 6: group is empty\n  line 7: has more cells than the first line names",
        ),
        (
            "id,group,image,mask,depth\na,g,i,m,d,x\n",
            ": mend these:\n  line 2: has more cells than the first line names",
        ),
        (
            "id,group,image,mask,depth\na,g,../i,m,d\nb,g,i,m,/d\n",
            ": mend these:\n  line 2: '../i' leaves the folder of the data set; paths are relative to it"
            "\n  line 3: '/d' leaves the folder of the data set; paths are relative to it",
        ),
        (
            "id,group,image,mask,depth,split\na,g,i,m,d,dev\n",
            ": mend these:\n  line 2: split 'dev' must be train, val or test",
        ),
        (
            "id,group,image,mask,depth,split\na,g,i,m,d,train\na,g,i,m,d,\n",
            ": mend these:\n  id 'a' is there 2 times; ids must be unique"
            "\n  `split` is given in 1 of 2 rows; give it in all or in none",
        ),
        (
            "id,group,image,mask,depth\n" + "a,,i,m,d\n" * 12,
            ": mend these:" + "".join(f"\n  line {n}: group is empty" for n in range(2, 12)) + "\n  and 3 more",
        ),
    ],
)
def test_wrong_list_of_samples(folder: Path, text: str, message: str) -> None:
    (folder / "samples.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == f"{folder}/samples.csv{message}"


@settings(deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["", "  ", "\u2028", "good", "bad", "long", "several"]), max_size=8),
    last=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_lines_that_are_named_are_those_an_editor_shows(kinds: list[str], last: bool, end: str) -> None:
    """Whatever stands before them: empty lines, blank ones, cells of several lines, separators that end no line."""
    rows = {
        "good": "{},g\u2028,i,m,d",
        "bad": "{},,i,m,d",
        "long": "{},g,i,m,d,x",
        "several": f'"{{}}{end}",g,i,m,d',
    }
    text, wrong, number = f"id,group,image,mask,depth{end}", [], 2
    for place, kind in enumerate([*kinds, "bad"]):
        line = rows.get(kind, kind).format(place)
        wrong += [number] if kind in ("bad", "long", "  ", "\u2028") else []
        number += 1 + line.count(end)
        text += line + end
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "samples.csv").write_bytes((text if last else text.removesuffix(end)).encode())
        with pytest.raises(DataError) as caught:
            read_samples(Path(scratch), depth=True)
    assert [int(one) for one in re.findall(r"line (\d+):", str(caught.value))] == wrong


def test_blanks_around_cells_are_no_part_of_them(folder: Path) -> None:
    path = folder / "samples.csv"
    plain = read(folder).samples
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\n".join([",".join(rows[0]), *(",".join(f" {cell}\t" for cell in row) for row in rows[1:])]))
    assert read(folder).samples == plain
    path.write_text("id,group,image,mask,depth,split\n000,a ,i,m,d, train\n000 ,a, ,m,d,val\n")
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{path}: mend these:\n  line 3: image is empty\n  id '000' is there 2 times; ids must be unique"
    )


def test_a_list_with_other_signs_and_columns_in_another_order(folder: Path) -> None:
    path = folder / "samples.csv"
    path.write_text('\ufeff"image";"mask";"depth";"id";"group"\ni;m;d;a;g\n', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == f"{path}: has semicolons between its cells; save it with commas."


@pytest.mark.parametrize("name", ["Samples.csv", "SAMPLES.CSV"])
def test_a_list_in_other_letters_is_not_passed_over(folder: Path, name: str) -> None:
    (folder / "samples.csv").rename(folder / name)
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == f"{folder}: has {name}, but the list of samples is samples.csv; rename it to that."


@pytest.mark.parametrize("name", ["samples.tsv", "samples.parquet", "Samples.csv.gz", "samples.xlsx"])
def test_a_list_of_another_format_is_not_passed_over(folder: Path, name: str) -> None:
    path = folder / "samples.csv"
    path.rename(folder / name)
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}: has {name}, but the list of samples is samples.csv; save it as that, with commas and in UTF-8, or "
        "take it away to have the folders read without a list."
    )
    path.write_bytes((folder / name).read_bytes())
    assert len(read(folder).samples) == 2


def test_quote_that_never_ends(folder: Path) -> None:
    text = "id,group,image,mask,depth\n\na,g,i,m,d\n" + '"b,g,i,m,d\n' + "c,g,i,m,d\n" * 20000
    (folder / "samples.csv").write_text(text)
    with pytest.raises(DataError, match=r"mend these:\n  line \d: has fewer cells than the first line names"):
        read(folder)


def test_list_that_is_not_text(folder: Path) -> None:
    (folder / "samples.csv").write_bytes(b"id,\xff\xfe\n")
    with pytest.raises(
        DataError, match=r"samples.csv: is not a table of comma-separated values in UTF-8 \(.*\); save it"
    ):
        read(folder)


def test_folders_with_two_pictures_of_one_stem(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    for name in ("s0.png", "s1.png", "s1.jpg"):
        (folder / "background" / name).write_bytes((folder / "background/b.png").read_bytes())
    (folder / "image/s0.JPG").write_bytes((folder / "image/s0.png").read_bytes())
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}: pictures without their partners of equal stem; add them, take the others away, or write "
        "samples.csv:\n  s0: 2 in image/ (s0.JPG, s0.png)\n  s1: 2 in background/ (s1.jpg, s1.png)"
    )
    (folder / "image/s0.JPG").unlink()
    (folder / "background/s1.jpg").unlink()
    assert [one.background for one in read(folder).samples] == ["background/s0.png", "background/s1.png"]


def test_list_saved_by_a_spreadsheet_starts_with_a_byte_order_mark(folder: Path) -> None:
    path = folder / "samples.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(folder).samples) == 2


@settings(max_examples=20)
@given(st.lists(st.text('ab,"é ', min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1, unique=True))
def test_a_list_that_was_written_is_read_back(names: list[str]) -> None:
    records = [Record(name, name[0], "train", "i.png", "m.png", "d.png", None) for name in names]
    with TemporaryDirectory() as scratch:
        write_samples(Path(scratch), records)
        found = read_samples(Path(scratch), depth=True)
    assert list(found) == sorted(records, key=lambda record: record.id)
    assert [found[i] for i in range(len(found))] == list(found)
    assert found.rows([*reversed(names), "nobody"]).tolist() == [
        *(sorted(names).index(name) for name in reversed(names)),
        -1,
    ]
