"""The networks; importing this package registers them."""

from dmx.models import depth_anything, depthmasknet, dilated_unet, fastdepth, large_kernel_unet, smp
from dmx.models.joint import DepthMaskModel, EncoderDecoder, JointNet, Link, describe_parameters, make_link

__all__ = [
    "DepthMaskModel",
    "EncoderDecoder",
    "JointNet",
    "Link",
    "depth_anything",
    "depthmasknet",
    "describe_parameters",
    "dilated_unet",
    "fastdepth",
    "large_kernel_unet",
    "make_link",
    "smp",
]
