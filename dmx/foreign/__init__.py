"""Networks that others made: ONNX files (Open Neural Network Exchange) and depth models of Hugging Face.

Neither runs its author's code. A file of `torch.export` does: `torch.export.load` (2.15) calls `pickle.loads` and
`torch.load` without `weights_only`. So torch files are refused; they must be converted by `torch.onnx.export`.
"""

from dmx.foreign.hugging_face import HUGGING_FACE, DepthPipeline
from dmx.foreign.network import Foreign, Predicts, Settings, is_foreign, open_network
from dmx.foreign.onnx_file import Normalisation, OnnxNetwork

__all__ = [
    "HUGGING_FACE",
    "DepthPipeline",
    "Foreign",
    "Normalisation",
    "OnnxNetwork",
    "Predicts",
    "Settings",
    "is_foreign",
    "open_network",
]
