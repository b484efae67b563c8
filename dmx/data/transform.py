"""One transform for the whole sample, through albumentations: resize, then normalise.

The only file that imports albumentations. Pictures are resized by area where they shrink and linearly where they grow;
mask, depth and where they are known take the value of the nearest pixel, for a blend of 1 m and 5 m is a place where
nothing is, and they take it at pixel centres, as the area does (plain nearest would shift them by half a pixel).
Depth keeps its values: resizing changes neither the camera nor the scene.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from dmx.quartet import Quartet

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # saves 2 s and a call over the network at its import

import albumentations

MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet's RGB in [0, 1], which pretrained encoders expect (Deng et al. 2009; torchvision's constants)."""
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Sample:
    """One sample as a network takes it; the fields are those of `dmx.quartet.Batch` without B."""

    id: str
    image: Float32[Tensor, "3 H W"]
    background: Float32[Tensor, "3 H W"] | None
    mask: Float32[Tensor, "1 H W"]
    mask_valid: Bool[Tensor, "1 H W"]
    depth: Float32[Tensor, "1 H W"]
    valid: Bool[Tensor, "1 H W"]


def make_transform(size: tuple[int, int]) -> Callable[[Quartet], Sample]:
    """Make the transform to `size` = (height, width): picture = (rgb / 255 - MEAN) / STD, channel by channel."""
    height, width = size
    compose = albumentations.Compose(
        [
            albumentations.Resize(
                height, width, mask_interpolation=cv2.INTER_NEAREST_EXACT, area_for_downscale="image"
            ),
            albumentations.Normalize(MEAN, STD),
        ],
        additional_targets={"background": "image", "mask_valid": "mask", "depth": "mask", "valid": "mask"},
        strict=True,
    )

    def transform(quartet: Quartet) -> Sample:
        pictures = {"image": quartet.image}
        if quartet.background is not None:
            pictures["background"] = quartet.background
        done = compose(
            **pictures,
            mask=quartet.mask,
            mask_valid=quartet.mask_valid.view(np.uint8),  # its transforms fail on bool
            depth=quartet.depth,
            valid=quartet.valid.view(np.uint8),
        )
        return Sample(
            id=quartet.id,
            image=_channels_first(done["image"]),
            background=_channels_first(done["background"]) if quartet.background is not None else None,
            mask=torch.from_numpy(done["mask"])[None].float(),
            mask_valid=torch.from_numpy(done["mask_valid"])[None].bool(),
            depth=torch.from_numpy(done["depth"])[None],
            valid=torch.from_numpy(done["valid"])[None].bool(),
        )

    return transform


def denormalise(pictures: Float32[Tensor, "*B 3 H W"]) -> UInt8[Tensor, "*B 3 H W"]:
    """RGB in 0..255 from normalised pictures, for people to look at: the inverse, rounded."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (MEAN, STD))
    return ((pictures * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def _channels_first(picture: Float32[np.ndarray, "H W 3"]) -> Float32[Tensor, "3 H W"]:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
