"""Building a network from names, with a check that it works, or one message that suggests an alternative."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.models.inputs import AnyInputs
from dmx.models.joint import JointNet
from dmx.models.pretrained import packaged, require_weights
from dmx.models.smp.encoders import colours_of, weights_of
from dmx.models.smp.local import colours_of_file, load_encoder
from dmx.models.smp.network import Architecture, Form, SmpNet, TokenNet
from dmx.models.weights import file_of, is_path


def build(
    architecture: Architecture, encoder: str, form: Form, inputs: AnyInputs, weights: str, details: bool
) -> SmpNet:
    """Build the network; the availability of pretrained weights is checked first.

    The libraries raise various errors, some only in the forward pass, if an architecture does not support an encoder.
    So one forward pass is run here. Modules that it shows to be unused (the last stages of an encoder for PSPNet, the
    last norm of a transformer) are removed.

    Raises:
        UserError: The pretrained weights are unavailable or do not fit, or the architecture does not support the
            encoder.
    """
    # A package comes before the hub, so that the weights do not depend on whether the hub can be reached.
    file = file_of(weights, "weights") if is_path(weights) else packaged(encoder, weights)
    if file is None and weights != "none":
        require_weights(encoder, weights, weights_of(encoder))
    initial = "none" if file else weights
    try:
        net = (TokenNet if architecture.tokens else SmpNet)(architecture, encoder, form, inputs, initial, details)
        if file is not None:
            load_encoder(net.encoder, encoder, file, net.pictures.channels)
            net.colours = colours_of_file(encoder) if is_path(weights) else colours_of(encoder, weights)
        leave_out_unused(net)
    except UserError:
        raise
    except Exception as error:  # ValueError, TypeError, KeyError, RuntimeError, AssertionError, ... by encoder
        said = " ".join(str(error).split())
        raise UserError(
            f"{architecture.library} cannot be built with encoder '{encoder}' ({type(error).__name__}: {said:.200}); "
            f"take {architecture.encoders}, for instance {architecture.instead}."
        ) from error
    return net


class Unused(nn.Module):
    """Replaces a module whose outputs are unused; some encoders still call it."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        """Return `x`."""
        return x


def leave_out_unused(net: JointNet) -> None:
    """Remove the modules of `net` that its outputs do not depend on; freeze other parameters they do not depend on.

    Raises:
        ValueError: Outputs and pictures differ in size, or the network does not work without the removed modules.
    """
    height, width = (-(-side // net.multiple) * net.multiple for side in (net.least, net.least + 1))
    picture = torch.zeros(1, 3, height, width)
    with torch.enable_grad():
        outputs: tuple[Tensor, Tensor] = net.eval()(picture, picture)
    if any(output.shape[2:] != picture.shape[2:] for output in outputs):
        raise ValueError(f"from {height}x{width} it comes to {'x'.join(map(str, outputs[0].shape[2:]))}")
    used = reached(outputs)
    before = len(list(net.parameters()))
    for module in list(net.modules()):
        for name, child in module.named_children():
            held = {id(p) for p in child.parameters()}
            if held and not held & used:
                setattr(module, name, Unused())
    parameters = list(net.parameters())
    for parameter in parameters:
        parameter.requires_grad_(id(parameter) in used)
    if len(parameters) < before:
        with torch.no_grad():
            again: tuple[Tensor, Tensor] = net(picture, picture)
        if not all(torch.equal(*pair) for pair in zip(outputs, again, strict=True)):
            raise ValueError("its outputs depend on modules that have no gradient")
    net.train()


def reached(outputs: Iterable[Tensor]) -> set[int]:
    """The ids of the parameters that `outputs` depend on, from the autograd graph without computing gradients."""
    nodes = [output.grad_fn for output in outputs]
    seen, found = set(nodes), set()
    while nodes:
        node = nodes.pop()
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(id(leaf))
        for following, _ in getattr(node, "next_functions", ()):
            if following is not None and following not in seen:
                seen.add(following)
                nodes.append(following)
    return found
