import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.errors import DataError
from dmx.tracking.journal import Finished, ImageLogged, Journal, MetricsLogged, Reopened, Started, decode, encode, read

START = Started(
    time=7, experiment="e", name="n", tags={"a": "b"}, params={"lr": 0.1, "none": None}, files=("x",), stores=True
)


def steps(path: Path) -> list[int]:
    return [event.step for event, _ in read(path) if isinstance(event, MetricsLogged)]


@given(st.integers(0, 2**53), st.dictionaries(st.text(), st.floats()))
def test_scalars_come_back_bit_for_bit_and_stand_as_standard_json(step, values):
    line = encode(MetricsLogged(time=1, step=step, values=values))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = decode(line)
    assert isinstance(back, MetricsLogged)
    assert (back.time, back.step, list(back.values)) == (1, step, list(values))
    assert [repr(value) for value in back.values.values()] == [repr(value) for value in values.values()]


@pytest.mark.parametrize(
    "event",
    [
        START,
        Reopened(time=1, tags={}),
        ImageLogged(time=2, step=3, key="val/panel", file="images/p.png"),
        Finished(time=9, outcome="complete", reason="größer\n2 lines"),
    ],
)
def test_every_kind_of_event_comes_back(event):
    line = encode(event)
    assert line.count(b"\n") == 1
    assert decode(line) == event


@pytest.mark.parametrize("torn", [b'{"kind": "metr', b'{"kind": "metr\n', b"\0" * 40, b"\0" * 40 + b"\n", b"[]\n"])
def test_what_a_kill_or_a_loss_of_power_left_at_the_end_is_cut_off(tmp_path, torn):
    path = tmp_path / "j"
    journal = Journal(path)
    for step in (1, 2):
        journal.append(MetricsLogged(step=step, values={"a": 1.0}))
    journal.close()
    good = path.read_bytes()
    path.write_bytes(good + torn)
    again = Journal(path)
    assert path.read_bytes() == good
    again.append(MetricsLogged(step=3, values={"a": 1.0}))
    again.close()
    assert steps(path) == [1, 2, 3]


def test_reading_goes_on_from_an_offset_and_leaves_a_line_in_the_making_out(tmp_path):
    path = tmp_path / "j"
    lines = [encode(MetricsLogged(time=1, step=step, values={"a": 1.0})) for step in (1, 2, 3)]
    path.write_bytes(lines[0] + lines[1] + lines[2][:-1])
    (_, first), (_, second) = read(path)
    assert (first, second) == (len(lines[0]), len(lines[0] + lines[1]))
    assert [event.step for event, _ in read(path, first)] == [2]
    assert list(read(path, second)) == []


def test_damage_in_the_middle_is_told_and_nothing_is_cut(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(encode(START) + b"garbage\n" + encode(START))
    before = path.read_bytes()
    with pytest.raises(DataError) as error:
        list(read(path))
    with pytest.raises(DataError) as refused:
        Journal(path)
    assert str(refused.value) == str(error.value)
    assert path.read_bytes() == before
    assert str(error.value) == (
        f"{path}: the line at byte {len(encode(START))} is not a journal entry (Expecting value: line 1 column 1 "
        "(char 0)); restore the file from a copy, or remove the run's folder to begin again."
    )


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from dmx.tracking.journal import Journal, MetricsLogged
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    for step in range(10):
        journal.append(MetricsLogged(step=step, values={"a": 1.0}))
except OSError as error:
    sys.stdout.write(f"{step} {type(error).__name__}")
"""


def test_a_full_disk_leaves_whole_lines_only(tmp_path):
    path = tmp_path / "j"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    failed_at = int(done.stdout.split()[0])
    assert 0 < failed_at < 9
    assert steps(path) == list(range(failed_at))
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "metrics", "time": 1, "step": "two", "values": {}}',
        b'{"kind": "metrics", "time": 1, "step": -1, "values": {}}',
        b'{"kind": "metrics", "time": 1, "step": 1e30, "values": {}}',
        b'{"kind": "metrics", "time": 1, "step": 1, "values": {"a": [1]}}',
        b'{"kind": "metrics", "time": 1, "step": 1, "values": {}, "more": 1}',
        b'{"kind": "image", "time": 1, "step": 1, "key": "a", "file": "../../etc/passwd"}',
        b'{"kind": "artifact", "time": 1, "file": "/etc/passwd", "folder": ""}',
        b'{"kind": "finish", "time": 1, "outcome": "won", "reason": ""}',
        b'{"kind": "start", "time": 1}',
        b'{"kind": "none"}',
        b"[]",
        b"[" * 100_000,
    ],
)
def test_what_is_json_but_no_event(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an event: ") as error:
        decode(line)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("data", [b"PK\x03\x04 and more", b"a\nb\n", b'{"kind": "metrics"'])
def test_another_file_is_no_journal_and_stays_as_it_is(tmp_path, data):
    path = tmp_path / "j"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        Journal(path)
    assert str(error.value) == (
        f"{path}: is no journal, for no line of it is an entry; restore the file from a copy, or remove the run's "
        "folder to begin again."
    )
    assert path.read_bytes() == data


@pytest.mark.parametrize("data", [b"", bytes(4096), encode(START)[:-9]])
def test_a_first_line_that_was_never_written_is_cut_off(tmp_path, data):
    path = tmp_path / "j"
    path.write_bytes(data)
    Journal(path).close()
    assert path.read_bytes() == b""
