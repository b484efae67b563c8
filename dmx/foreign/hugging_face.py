"""Depth models of Hugging Face with safetensors weights."""

from typing import Literal

import numpy as np
from jaxtyping import UInt8

from dmx.errors import DataError
from dmx.foreign.extra import extra

HUGGING_FACE = "hf:"
"""The beginning of a name of such a model."""


class DepthPipeline:
    """A depth-estimation pipeline on the CPU.

    Args:
        name: A folder, or a name on the Hugging Face Hub.
        threads: Threads of a prediction.
        local: Whether nothing is loaded from the Hub.

    Raises:
        UserError: transformers is not installed.
        DataError: The model cannot be opened.
    """

    def __init__(self, name: str, *, threads: int, local: bool = False) -> None:
        transformers = extra("transformers")
        where = {"model": name, "device": "cpu", "local_files_only": local, "trust_remote_code": False}
        safe = {"use_safetensors": True}  # other weights are pickles
        try:
            self._pipe = transformers.pipeline("depth-estimation", **where, model_kwargs=safe)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{HUGGING_FACE}{name}: cannot be opened ({error}); name a depth-estimation model."
            ) from error
        self._threads = threads

    @property
    def kind(self) -> Literal["metric", "relative"] | None:
        """What the configuration says of the depth: metres, or disparity without a unit; None if it says nothing."""
        kind: Literal["metric", "relative"] | None = getattr(self._pipe.model.config, "depth_estimation_type", None)
        return kind

    def __call__(self, picture: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
        """Predict depth of an RGB picture, of any size and unit."""
        import torch
        from PIL import Image

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return np.asarray(self._pipe(Image.fromarray(picture))["predicted_depth"])
        finally:
            torch.set_num_threads(before)  # a training in the same process may follow
