"""From names to a network that is known to work, or one message that says what would."""

from collections.abc import Iterable

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


class Unused(nn.Module):
    """Takes the place of a module whose outputs are not used; some encoders still call it."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        """Give `x` back."""
        return x


def leave_out_unused(net: SmpNet) -> None:
    """Take the modules out of `net` on which its outputs do not depend; whatever else they do not, is not learned.

    Raises:
        ValueError: Outputs and pictures differ in size, or the network does not work without what was left out.
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
    """The ids of the parameters on which `outputs` depend, read off the graph without computing any gradient."""
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
