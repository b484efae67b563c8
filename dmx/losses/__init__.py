"""The losses of mask and depth; importing this package registers them."""

from dmx.losses import bce, bce_dice, berhu, dice, focal, gradient, l1, l2, silog, ssim

__all__ = ["bce", "bce_dice", "berhu", "dice", "focal", "gradient", "l1", "l2", "silog", "ssim"]
