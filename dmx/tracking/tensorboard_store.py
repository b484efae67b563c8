"""TensorBoard: event files made anew from the journal whenever a run is opened, then appended to.

Event files cannot be changed, and a killed process may leave any part of the last events in them; making them anew is
what keeps a step from standing there twice.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2

from dmx.tracking.journal import Event, Measured, Pictured, Started


class TensorBoardStore:
    """The event files of one run in `logdir`."""

    def __init__(self, run: Path, logdir: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # 1 s or more: not before the feeder needs it

        self.sent = 0
        self._run = run
        self._mark = mark(run)
        self._mark.unlink(missing_ok=True)
        for old in logdir.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(logdir))

    def send(self, events: Sequence[Event], end: int) -> None:
        """Append scalars, pictures and the configuration, with the journal's times."""
        for event in events:
            seconds = event.time / 1000
            match event:
                case Started():
                    self._writer.add_text("config", table(event), 0, seconds)
                case Measured():
                    for key, value in event.values.items():
                        self._writer.add_scalar(key, value, event.step, seconds)
                case Pictured():
                    picture = cv2.imread(str(self._run / event.file))
                    if picture is not None:  # the user may have removed it to make room
                        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                        self._writer.add_image(event.key, rgb, event.step, seconds, dataformats="HWC")
        self._writer.flush()
        self.sent = end
        self._mark.write_text(str(end))

    def close(self) -> None:
        """Write out what is buffered."""
        self._writer.close()


def mark(run: Path) -> Path:
    """The file that says how much of the journal TensorBoard has."""
    return run / "tensorboard.sent"


def sent(run: Path) -> int:
    """The journal's byte offset up to which TensorBoard has everything, as far as the run's folder knows."""
    return int(mark(run).read_text() or 0) if mark(run).exists() else 0


def table(start: Started) -> str:
    """The configuration as a Markdown table."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in start.params.items())
    return f"| parameter | value |\n|---|---|\n{rows}"
