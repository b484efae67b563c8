"""Predict mask and depth of photographs of any size, at that size."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from torch import nn

from dmx.data.planes import resize_picture
from dmx.deliver.ensemble import Networks


class Predictor:
    """A trained model and its input size.

    Args:
        model: A `DepthMaskModel` with its weights.
        size: (height, width) to which pictures are resized for the network.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.model = model
        self.size = size
        self._networks = Networks([model])

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
            behind = None if backgrounds is None else [resize_picture(backgrounds[i], self.size)]
            maps = self._networks([resize_picture(image, self.size)], behind)[0]
            sides = image.shape[1], image.shape[0]
            found.append((cv2.resize(maps.mask, sides), cv2.resize(maps.depth, sides)))
        return found
