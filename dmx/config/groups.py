"""Which parameters learn slower than others, and which are kept from weight decay."""

from typing import Annotated

from pydantic import Field

from dmx.config.base import Frozen

Factor = Annotated[float, Field(gt=0, le=1)]


class GroupsConfig(Frozen):
    """How the optimizer treats the parts of a network; the defaults are common practice."""

    decay_norms_and_biases: bool = False
    """Whether weight decay also pulls at norms, biases and what else a network asks to be spared, as torch would."""
    encoder_lr: Factor = 1.0
    """The learning rate of the encoder as a share of the others': below 1 for pretrained ones."""
    layer_decay: Factor = 1.0
    """The learning rate of each layer of the encoder as a share of that of the layer behind it."""
