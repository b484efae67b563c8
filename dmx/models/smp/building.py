"""From names to a network that is known to work, or one message that says what would."""

import torch
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.models.inputs import AnyInputs
from dmx.models.pretrained import require_weights
from dmx.models.smp.encoders import weights_of
from dmx.models.smp.network import Architecture, Form, SmpNet, TokenNet


def build(architecture: Architecture, encoder: str, form: Form, inputs: AnyInputs, weights: str) -> SmpNet:
    """The network; pretrained weights are looked for before anything else is done.

    The libraries say in many ways, and some only when a picture comes, that they cannot put an architecture and an
    encoder together: so one picture is looked at here. What it shows to be without use (the last stages of an encoder
    for PSPNet, the last norm of a transformer) is left out.

    Raises:
        UserError: The pretrained weights cannot be had, or the architecture does not take the encoder.
    """
    if weights != "none":
        require_weights(encoder, weights, weights_of(encoder))
    try:
        net = (TokenNet if architecture.tokens else SmpNet)(architecture, encoder, form, inputs, weights)
        leave_out_unused(net)
    except Exception as error:  # ValueError, TypeError, KeyError, RuntimeError, AssertionError, ... by encoder
        said = " ".join(str(error).split())
        raise UserError(
            f"{architecture.library} cannot be built with encoder '{encoder}' ({type(error).__name__}: {said:.200}); "
            f"take {architecture.encoders}, for instance {architecture.instead}."
        ) from error
    return net


def leave_out_unused(net: SmpNet) -> None:
    """Take the modules out of `net` on which its outputs do not depend; whatever else they do not, is not learned.

    Raises:
        ValueError: Outputs and pictures differ in size.
    """
    size = (net.least, net.least + net.multiple)
    size = tuple(-(-side // net.multiple) * net.multiple for side in size)  # type: ignore[assignment]
    picture = torch.zeros(1, 3, *size)
    outputs: tuple[Tensor, Tensor] = net.eval()(picture, picture)
    net.train()
    if any(output.shape[2:] != size for output in outputs):
        raise ValueError(f"from {size} it comes to {tuple(outputs[0].shape[2:])}")
    parameters = list(net.parameters())
    gradients = torch.autograd.grad([o.sum() for o in outputs], parameters, allow_unused=True)
    unused = {id(p) for p, g in zip(parameters, gradients, strict=True) if g is None}
    for module in list(net.modules()):
        for name, child in module.named_children():
            held = {id(p) for p in child.parameters()}
            if held and held <= unused:
                setattr(module, name, nn.Identity())
    for parameter in net.parameters():
        if id(parameter) in unused:
            parameter.requires_grad_(False)
