"""Predict mask and depth of photographs of any size, at that size."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from dmx.data.planes import resize_picture


class Predictor:
    """A trained model and its input size.

    Args:
        model: A `DepthMaskModel` with its weights.
        size: (height, width) to which pictures are resized for the network.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.model = model.eval()
        self.size = size

    @torch.no_grad()
    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], backgrounds: Sequence[UInt8[np.ndarray, "_ _ 3"]] | None
    ) -> list[tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"]]]:
        """Predict each picture's mask probability and depth (in the data set's unit), at the picture's own size.

        Args:
            images: RGB pictures.
            backgrounds: The scenes without the object, if the model takes them.
        """
        found = []
        for i, image in enumerate(images):
            background = self._tensor(backgrounds[i]) if backgrounds is not None else None
            prediction = self.model(self._tensor(image), background)
            height, width = image.shape[:2]
            maps = (prediction.mask_logits.sigmoid(), prediction.depth)
            mask, depth = (cv2.resize(one[0, 0].cpu().numpy(), (width, height)) for one in maps)
            found.append((mask, depth))
        return found

    def _tensor(self, picture: UInt8[np.ndarray, "_ _ 3"]) -> Float32[Tensor, "1 3 H W"]:
        """Preprocess as in training: resize, then scale to [0, 1]."""
        resized = torch.from_numpy(np.ascontiguousarray(resize_picture(picture, self.size)))
        return resized.to(next(self.model.parameters()).device).permute(2, 0, 1)[None] / 255
