"""The TensorBoard replica of the journal: event files, rewritten whenever a run is opened, then appended to.

Event files cannot be edited, and a killed process may leave partial events in them; rewriting them avoids duplicate
steps. They are written with TensorBoard's own classes, as PyTorch's writer would import torch in the forwarder.
"""

import logging
import os
import shutil
import socket
import struct
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar
from dmx.stored import replace_text
from dmx.tracking.journal import CurveLogged, Event, Finished, ImageLogged, MetricsLogged, Started

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)
EVENTS = "events.out.tfevents.*"
RGB = 3
"""TensorBoard's colour space constant for RGB."""
SUCCESS, FAILURE = 1, 2
"""TensorBoard's constants for the status of a session."""


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
            step = event.step if isinstance(event, MetricsLogged | ImageLogged | CurveLogged) else 0
            for summary in summaries(event, self._run):
                self._write(event.time / 1000, step=step, summary=summary)
        self._writer.flush()
        self.sent = end
        replace_text(self._mark, str(end))

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()

    def _write(self, seconds: float, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        self._writer.write(Record(wall_time=seconds, **what).SerializeToString())


def summaries(event: Event, run: Path) -> Iterator[Any]:
    """Convert an event to TensorBoard's `Summary` messages."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    match event:
        case Started():
            yield text_pb("config/text_summary", table(event))
            if event.view is None:  # a study's own run is not a trial
                yield Summary(value=[session_start(event)])
        case Finished():
            yield Summary(value=[session_end(event)])
        case CurveLogged():
            yield Summary(value=[pr_curve(event)])
        case MetricsLogged():
            yield Summary(value=[Summary.Value(tag=key, simple_value=value) for key, value in event.values.items()])
        case ImageLogged():
            file = run / event.file
            if file.exists():  # the user may have removed it to free space
                png = file.read_bytes()
                width, height = struct.unpack(">II", png[16:24])  # the first chunk of a PNG starts with the size
                image = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=png)
                yield Summary(value=[Summary.Value(tag=event.key, image=image)])


def session_start(event: Started) -> Any:
    """The run's hyperparameters for the HParams plugin: those that its study varies, or all."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(group_name=event.name, start_time_secs=event.time / 1000)
    for key, value in (event.searched or event.params).items():
        set_parameter(info.hparams[key], value)
    return hparams_value("_hparams_/session_start_info", HParamsPluginData(session_start_info=info))


def session_end(event: Finished) -> Any:
    """The run's status for the HParams plugin."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    good = Outcome(event.outcome) in (Outcome.COMPLETE, Outcome.PRUNED)
    info = SessionEndInfo(status=SUCCESS if good else FAILURE, end_time_secs=event.time / 1000)
    return hparams_value("_hparams_/session_end_info", HParamsPluginData(session_end_info=info))


def set_parameter(field: Any, value: Scalar) -> None:
    """Set the field of a protobuf value that fits the parameter's type."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = str(value)


def hparams_value(tag: str, content: Any) -> Any:
    """A summary for the HParams plugin."""
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    return plugin_value(tag, "hparams", content, TensorProto(dtype=DT_FLOAT, float_val=[0.0]))


def pr_curve(event: CurveLogged) -> Any:
    """Precision and recall over thresholds."""
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
    from tensorboard.util.tensor_util import make_tensor_proto

    content = PrCurvePluginData(num_thresholds=len(event.hits))
    return plugin_value(event.key, "pr_curves", content, make_tensor_proto(counts(event).astype(np.float32)))


def plugin_value(tag: str, plugin: str, content: Any, tensor: Any) -> Any:
    """A summary for a plugin of TensorBoard."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content.SerializeToString())
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data), tensor=tensor)


def counts(event: CurveLogged) -> np.ndarray:
    """True and false positives, true and false negatives, precision and recall, at each threshold."""
    hits, false = np.array(event.hits, dtype=np.float64), np.array(event.false, dtype=np.float64)
    misses, rejected = event.objects - hits, event.rest - false
    with np.errstate(invalid="ignore"):
        precision = np.where(hits + false > 0, hits / (hits + false), 1.0)
        recall = np.where(event.objects > 0, hits / np.maximum(event.objects, 1), 0.0)
    return np.stack([hits, false, rejected, misses, precision, recall])


def mark(run: Path) -> Path:
    """The file with the position in the journal up to which TensorBoard has it."""
    return run / "tensorboard.sent"


def sent(run: Path, logdir: Path) -> int:
    """The journal's byte offset up to which the event files in `logdir` have everything."""
    if not mark(run).exists() or next(logdir.glob(EVENTS), None) is None:  # the user may have removed the files
        return 0
    text = mark(run).read_bytes()
    return int(text) if text.isdigit() else 0  # an unreadable mark counts as missing


def table(start: Started) -> str:
    """The configuration as a Markdown table."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in start.params.items())
    return f"| parameter | value |\n|---|---|\n{rows}"


def draw_graph(folder: Path, model: "nn.Module", inputs: "tuple[Tensor, ...]") -> None:
    """Write the graph of `model` to a new folder; nothing is written if the model cannot be traced.

    Args:
        folder: A subfolder of the run's TensorBoard folder; unlike the event files there, it is not rewritten.
        model: The model, called once with `inputs`.
        inputs: Tensors on its device.
    """
    from torch.utils.tensorboard import SummaryWriter

    if folder.exists():
        return
    was_training = model.training
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), SummaryWriter(str(folder)) as writer:
            warnings.simplefilter("ignore")  # tracing warns about every branch on a size
            writer.add_graph(model.eval(), inputs, use_strict_trace=False)
    except Exception as error:  # tracing may raise anything; a missing graph must not fail the run
        log.debug("no graph: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        model.train(was_training)
