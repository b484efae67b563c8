"""The model that MLflow loads and serves: code from this file, weights from safetensors, no pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from dmx.config import parse_experiment
from dmx.deliver.predictor import Predictor
from dmx.models.joint import DepthMaskModel, make_link
from dmx.quartet import DepthSpec
from dmx.training.checkpoint import load_weights


class DepthMask(PythonModel):
    """From `image` (and `background`), uint8 (B, H, W, 3), to `mask` (probability) and `depth`, float32 (B, H, W)."""

    def load_context(self, context: Any) -> None:
        """Build the network from the configuration and load its weights."""
        folder = Path(context.artifacts["model"])
        config = parse_experiment(json.loads((folder / "config.json").read_text()), "the model's configuration")
        spec = DepthSpec(**json.loads((folder / "depth.json").read_text()))
        net = config.model.bind()()
        model = DepthMaskModel(net, make_link(config.depth_link, spec, net))
        load_weights(folder / "weights.safetensors", model)
        self.predictor = Predictor(model, config.stages[-1].height_width)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints as schema
        """See the class."""
        backgrounds = model_input.get("background")
        found = self.predictor(list(model_input["image"]), None if backgrounds is None else list(backgrounds))
        return {"mask": np.stack([mask for mask, _ in found]), "depth": np.stack([depth for _, depth in found])}


set_model(DepthMask())
