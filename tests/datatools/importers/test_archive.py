"""Zip files that would do harm are refused before anything is written."""

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dmx.data.writing import Summary
from dmx.datatools.importers.tree import UNREADABLE, Zip
from dmx.errors import DataError

Run = Callable[..., Summary]
Pack = Callable[..., Path]


@pytest.fixture
def packed(by_name: Path, tmp_path: Path, pack: Pack) -> Path:
    path = pack(by_name, tmp_path / "set.zip")
    shutil.rmtree(by_name)
    return path


def refused(run: Run, path: Path) -> str:
    """The message; and nothing was written."""
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(DataError) as caught:
        run("eva4", path)
    assert sorted(path.parent.parent.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "bg/../../evil.png",
        "/tmp/evil.png",
        "..\\evil.png",
        "\\evil.png",
        "C:/evil.png",
        "c:evil.png",
        "..",
    ],
)
def test_entry_that_leaves_the_folder(packed: Path, run: Run, name: str) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, "x")
    assert refused(run, packed) == (
        f"{packed}: entry '{name}' would be written outside of the folder; nothing was written. Make the zip file anew "
        "without it."
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_entry_that_is_a_link_or_a_device(packed: Path, run: Run, kind: int) -> None:
    entry = zipfile.ZipInfo("bg/bg_001.jpg.png")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "entry 'bg/bg_001.jpg.png' is a link or a device; nothing was written." in refused(run, packed)


def test_entry_that_is_encrypted(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("secret", "x")
        archive.infolist()[-1].flag_bits |= 1
    assert "entry 'secret' is encrypted; nothing was written." in refused(run, packed)


def test_more_than_the_disk_holds(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("bomb", "x")
        archive.infolist()[-1].file_size = 2**60
    message = refused(run, packed)
    assert message.startswith(f"{packed}: its entries take 1,073,741,824.0 GiB, but only ")
    assert message.endswith(f" GiB are free at {packed.parent}; nothing was written. Make room or choose another disk.")


def test_entry_that_memory_may_not_hold(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.getinfo("bgfg_overlay/ol_bg002fg0021_fg_002.png").file_size = 2**28 + 1
        archive.writestr("notes.txt", "x")  # so that the list of entries is written anew
    assert str(run("eva4", packed)).endswith(
        "2 samples in 2 groups; left out: 1 with a picture of more than 256 MiB "
        "(bgfg_overlay/ol_bg002fg0021_fg_002.png)"
    )


def test_entry_that_declares_less_than_it_holds(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bgfg_overlay/ol_bg001fg_x.png", bytes(10**6))
        archive.writestr("bgfg_mask/mask_ol_bg001fg_x.png", bytes(10**6))
        archive.writestr("bgfg_depth/depth_ol_bg001fg_x.jpg", bytes(10**6))
        for entry in archive.infolist()[-3:]:
            entry.file_size = 10
    assert str(run("eva4", packed)).endswith(
        "3 samples in 3 groups; left out: 1 with a picture that cannot be read (bgfg_overlay/ol_bg001fg_x.png)"
    )
    assert all(path.stat().st_size < 10_000 for path in (packed.parent / "out").rglob("*"))


def test_entry_with_another_checksum_is_left_out(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed) as archive:
        entry = archive.getinfo("bgfg_overlay/ol_bg002fg0021_fg_002.png")
    data = bytearray(packed.read_bytes())
    data[entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2] ^= 255  # stored, so in the picture
    packed.write_bytes(bytes(data))
    assert str(run("eva4", packed)).endswith(
        "2 samples in 2 groups; left out: 1 with a picture that cannot be read (bgfg_overlay/ol_bg002fg0021_fg_002.png)"
    )


def test_entry_whose_own_name_is_no_text_is_left_out(packed: Path, run: Run) -> None:
    name = "bgfg_overlay/ol_bg002fg0021_fg_002.png"
    with zipfile.ZipFile(packed) as archive:
        at = archive.getinfo(name).header_offset
    data = bytearray(packed.read_bytes())
    data[at + 7] |= 8  # the flag of UTF-8
    data[at + 30] = 0xFF
    packed.write_bytes(bytes(data))
    assert str(run("eva4", packed)).endswith(
        f"2 samples in 2 groups; left out: 1 with a picture that cannot be read ({name})"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_entry_whose_compressed_bytes_are_damaged_is_left_out(
    by_name: Path, tmp_path: Path, run: Run, method: int
) -> None:
    path, name = tmp_path / "set.zip", "bgfg_overlay/ol_bg002fg0021_fg_002.png"
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(by_name.rglob("*.*")):
            archive.write(file, file.relative_to(by_name))
        entry = archive.getinfo(name)
    data = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(name) + 12  # behind the properties with which LZMA begins
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    assert str(run("eva4", path)).endswith(
        f"2 samples in 2 groups; left out: 1 with a picture that cannot be read ({name})"
    )


def test_what_macos_adds_is_no_data(packed: Path, run: Run) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("__MACOSX/bgfg_overlay/x.png", "x")
        archive.writestr("__MACOSX/bg/x.png", "x")
        archive.writestr("bgfg_overlay/._ol_bg001fg0011_fg_001.png", "x")
    assert str(run("eva4", packed)).endswith("3 samples in 3 groups")


def test_another_file(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "set.tar"
    path.write_text("x")
    assert refused(run, path) == (
        f"{path}: cannot be read as a zip file (File is not a zip file); give a folder or another zip file."
    )


def test_an_entry_that_asks_for_more_memory_than_there_is_is_unreadable(tmp_path: Path) -> None:
    """LZMA's header says how large a dictionary decoding takes: 4 GiB in eight damaged bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on a process's memory")
    path, name = tmp_path / "set.zip", "bg/a.png"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(name, bytes(1000))
    data = bytearray(path.read_bytes())
    dictionary = 30 + len(name) + 5  # behind the local header, LZMA's version, the length of its properties, lc lp pb
    data[dictionary : dictionary + 4] = (2**32 - 16).to_bytes(4, "little")
    path.write_bytes(data)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (psutil.Process().memory_info().data + 2**29, limits[1]))
    try:
        assert Zip(zipfile.ZipFile(path)).picture_size(name) == UNREADABLE
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
