"""TensorBoard: event files made anew from the journal whenever a run is opened, then appended to.

Event files cannot be changed, and a killed process may leave any part of the last events in them; making them anew is
what keeps a step from standing there twice. They are written with TensorBoard's own parts: PyTorch's writer would bring
torch into the feeder.
"""

import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmx.tracking.files import replace_text
from dmx.tracking.journal import Curved, Event, Finished, Measured, Pictured, Started
from dmx.tracking.tensorboard_plugins import begun, curve, ended

EVENTS = "events.out.tfevents.*"
RGB = 3
"""TensorBoard's number for the colours of a picture."""


class TensorBoardStore:
    """The event files of one run in `logdir`."""

    def __init__(self, run: Path, logdir: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.sent = 0
        self._run = run
        self._mark = mark(run)
        self._mark.unlink(missing_ok=True)
        for old in logdir.glob(EVENTS):
            old.unlink()
        logdir.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._writer = RecordWriter((logdir / name).open("wb"))
        self._write(time.time(), file_version="brain.Event:2")

    def send(self, events: Sequence[Event], end: int) -> None:
        """Append scalars, pictures, curves and the configuration, with the journal's times."""
        for event in events:
            step = event.step if isinstance(event, Measured | Pictured | Curved) else 0
            for summary in summaries(event, self._run):
                self._write(event.time / 1000, step=step, summary=summary)
        self._writer.flush()
        self.sent = end
        replace_text(self._mark, str(end))

    def close(self) -> None:
        """Write out what is buffered."""
        self._writer.close()

    def _write(self, seconds: float, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        self._writer.write(Record(wall_time=seconds, **what).SerializeToString())


def summaries(event: Event, run: Path) -> Iterator[Any]:
    """What TensorBoard is to be told of an event, as its `Summary`."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    match event:
        case Started():
            yield text_pb("config/text_summary", table(event))
            if event.view is None:  # the record of a study is no trial
                yield Summary(value=[begun(event)])
        case Finished():
            yield Summary(value=[ended(event)])
        case Curved():
            yield Summary(value=[curve(event)])
        case Measured():
            yield Summary(value=[Summary.Value(tag=key, simple_value=value) for key, value in event.values.items()])
        case Pictured():
            file = run / event.file
            if file.exists():  # the user may have removed it to make room
                png = file.read_bytes()
                width, height = struct.unpack(">II", png[16:24])  # the first chunk of a PNG begins with them
                image = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=png)
                yield Summary(value=[Summary.Value(tag=event.key, image=image)])


def mark(run: Path) -> Path:
    """The file that says how much of the journal TensorBoard has."""
    return run / "tensorboard.sent"


def sent(run: Path, logdir: Path) -> int:
    """The journal's byte offset up to which the event files in `logdir` have everything."""
    if not mark(run).exists() or next(logdir.glob(EVENTS), None) is None:  # the user may have removed the files
        return 0
    text = mark(run).read_bytes()
    return int(text) if text.isdigit() else 0  # a mark that cannot be read is worth no more than none


def table(start: Started) -> str:
    """The configuration as a Markdown table."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in start.params.items())
    return f"| parameter | value |\n|---|---|\n{rows}"
