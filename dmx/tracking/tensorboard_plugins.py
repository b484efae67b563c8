"""What TensorBoard's plug-ins for hyperparameters and precision-recall curves read, made without TensorFlow."""

from typing import Any

import numpy as np

from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar
from dmx.tracking.journal import Curved, Finished, Started

SUCCESS, FAILURE = 1, 2
"""TensorBoard's numbers for how a session ended."""


def begun(event: Started) -> Any:
    """The run's hyperparameters: those that its study varies, or all of a single run."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(group_name=event.name, start_time_secs=event.time / 1000)
    for key, value in (event.searched or event.params).items():
        fill(info.hparams[key], value)
    return plugin_value("_hparams_/session_start_info", HParamsPluginData(session_start_info=info))


def ended(event: Finished) -> Any:
    """How the run ended."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    good = Outcome(event.outcome) in (Outcome.COMPLETE, Outcome.PRUNED)
    info = SessionEndInfo(status=SUCCESS if good else FAILURE, end_time_secs=event.time / 1000)
    return plugin_value("_hparams_/session_end_info", HParamsPluginData(session_end_info=info))


def fill(slot: Any, value: Scalar) -> None:
    """Put a parameter where the protocol has its type."""
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, int | float):
        slot.number_value = value
    else:
        slot.string_value = str(value)


def plugin_value(tag: str, content: Any) -> Any:
    """A summary that the plug-in of hyperparameters reads."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    metadata = SummaryMetadata(plugin_data=plugin)
    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(dtype=DT_FLOAT, float_val=[0.0]))


def curve(event: Curved) -> Any:
    """Precision and recall over thresholds."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
    from tensorboard.util.tensor_util import make_tensor_proto

    content = PrCurvePluginData(num_thresholds=len(event.hits)).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="pr_curves", content=content)
    tensor = make_tensor_proto(rows(event).astype(np.float32))
    return Summary.Value(tag=event.key, metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor)


def rows(event: Curved) -> np.ndarray:
    """True and false positives, true and false negatives, precision and recall, at each threshold."""
    hits, false = np.array(event.hits, dtype=np.float64), np.array(event.false, dtype=np.float64)
    misses, rejected = event.objects - hits, event.rest - false
    with np.errstate(invalid="ignore"):
        precision = np.where(hits + false > 0, hits / (hits + false), 1.0)
        recall = np.where(event.objects > 0, hits / np.maximum(event.objects, 1), 0.0)
    return np.stack([hits, false, rejected, misses, precision, recall])
