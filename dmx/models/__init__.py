"""The networks; importing this package registers them."""

from dmx.models.joint import DepthMaskModel, EncoderDecoder, JointNet, Link, describe_parameters, make_link
from dmx.registry import import_modules

__all__ = ["DepthMaskModel", "EncoderDecoder", "JointNet", "Link", "describe_parameters", "make_link"]

import_modules(__name__)
