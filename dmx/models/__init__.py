"""The networks; importing this package registers them."""

from dmx.models import depthmasknet, smp
from dmx.models.joint import DepthMaskModel, JointNet, Link, check_size, describe_parameters, make_link

__all__ = [
    "DepthMaskModel",
    "JointNet",
    "Link",
    "check_size",
    "depthmasknet",
    "describe_parameters",
    "make_link",
    "smp",
]
