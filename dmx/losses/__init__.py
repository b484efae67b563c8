"""The losses of mask and depth; importing this package registers them.

Beside `kinds` of depth and what it `needs` of the experiment (`dmx.config.components`), a loss may be registered with
two facts:

- `term=True`: alone it cannot teach the task, as predictions that are wrong, by an offset, a scale or on some samples
  throughout, cost nothing or too little. It is to stand beside another loss, and a study should not choose it alone.
- `prior=True`: it does not look at the truth, only at the prediction, the image, and where the truth is known. So the
  truth is not what minimises it; a constant is.
"""

from dmx.losses import (
    bce,
    bce_dice,
    berhu,
    boundary,
    dice,
    focal,
    focal_tversky,
    gradient,
    huber,
    jaccard,
    l1,
    l2,
    log_l1,
    lovasz,
    normals,
    ranking,
    silog,
    smoothness,
    ssi,
    ssim,
    tversky,
    virtual_normals,
    weighted_bce,
)

__all__ = [
    "bce",
    "bce_dice",
    "berhu",
    "boundary",
    "dice",
    "focal",
    "focal_tversky",
    "gradient",
    "huber",
    "jaccard",
    "l1",
    "l2",
    "log_l1",
    "lovasz",
    "normals",
    "ranking",
    "silog",
    "smoothness",
    "ssi",
    "ssim",
    "tversky",
    "virtual_normals",
    "weighted_bce",
]
