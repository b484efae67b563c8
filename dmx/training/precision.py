"""Check that a device's lower-precision kernels match float32 up to rounding.

Some lower-precision kernels are wrong on some processors: torch 2.15's bfloat16 convolution with kernel and stride 16
gives unrelated results for 4, 6 or 8 channels on processors with AMX. So each module of a network is compared with
itself in float32, on the inputs that it gets in the lower precision:

    y = f(x) in the lower precision,   r = f(x) in float32,   q = f(x) in float32 with weights and outputs rounded

q - r is the effect of rounding on this f at this x, however badly conditioned f is. The kernel of y also rounds
intermediate results, hence the tolerance ||y - r|| <= SLACK (||q - r|| + u ||r||), with u the unit roundoff.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dmx.errors import UserError
from dmx.models import DepthMaskModel
from dmx.quartet import Batch
from dmx.training.device import DeviceConfig

log = logging.getLogger(__name__)
PRECISION, OTHERWISE = "training.precision", "set it to auto or float32, or "
"""The setting that requests a precision, and its alternatives; a started run keeps its precision."""
SLACK = 4.0
"""Tolerance factor for intermediate rounding in kernels. Over all modules of all registered models, before and after
batch norm had seen data, the greatest ratio was 1.03 (bfloat16, AVX512). A wrong kernel, whose error is about ||r||,
should exceed it by far, as u is 1/256 in bfloat16; no such kernel has been measured."""


def checked(
    model: DepthMaskModel, batches: Iterable[Batch], device_config: DeviceConfig, explicit: bool, where: str
) -> DeviceConfig:
    """Return `device_config`, changed to float32 if the network's outputs are wrong in its lower precision.

    Args:
        model: The network, on its device.
        batches: Batches of real data, one of each size.
        device_config: The chosen configuration.
        explicit: Whether this precision was requested explicitly.
        where: The setting that requests it.

    Raises:
        UserError: The outputs are wrong, and the precision was requested explicitly.
    """
    for batch in batches if device_config.dtype != torch.float32 else ():
        if (part := wrong_part(model, batch, device_config)) is not None:
            name = str(device_config.dtype).removeprefix("torch.")
            if explicit:
                raise UserError(
                    f"{where} is {name}, but in {name} {part} gives something else than in float32 on this machine's "
                    f"{device_config.device.type}, more than rounding explains; "
                    f"{OTHERWISE if where == PRECISION else ''}take another machine or version of torch."
                )
            log.warning("In %s %s gives something else than in float32, which is taken instead.", name, part)
            return replace(device_config, dtype=torch.float32, refused=f"{name}: wrong in {part}")
    return device_config


@torch.no_grad()
def wrong_part(model: DepthMaskModel, batch: Batch, device_config: DeviceConfig) -> str | None:
    """The first module that is wrong in the lower precision of `device_config`; None if all are right.

    Leaf modules and the whole network are checked first; then, if only the whole network is wrong, all modules.

    Args:
        model: The network, on its device.
        batch: Samples of the data.
        device_config: Device and precision.
    """
    if device_config.dtype == torch.float32:
        return None
    was_training = model.training
    model.eval()
    inplace = [part for part in model.modules() if getattr(part, "inplace", False) is True]
    for part in inplace:
        vars(part)["inplace"] = False  # an in-place module would change the input of the comparison
    parts = dict(model.net.named_modules())
    smallest = {name: part for name, part in parts.items() if not any(part.children())}
    try:
        found = _first_wrong(model, {**smallest, "": model.net}, batch, device_config)
        if found == "":
            found = _first_wrong(model, parts, batch, device_config)
    finally:
        model.train(was_training)
        for part in inplace:
            vars(part)["inplace"] = True
    return None if found is None else f"{found or 'the network'} ({type(parts[found]).__name__})"


class _Found(Exception):  # noqa: N818 - not an error
    """Ends the forward pass at the first wrong module."""


def _first_wrong(
    model: DepthMaskModel, parts: dict[str, nn.Module], batch: Batch, device_config: DeviceConfig
) -> str | None:
    """The name of the first of `parts` whose output is wrong."""
    inside = False

    def look(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], y: Any) -> None:
            nonlocal inside
            if inside:  # a submodule of a module that is being compared
                return
            inside = True
            try:
                if not _explained(part, given, named, y, device_config):
                    raise _Found(name)
            finally:
                inside = False

        return hook

    with ExitStack() as hooks:
        for name, part in parts.items():
            hooks.callback(part.register_forward_hook(look(name), with_kwargs=True).remove)
        try:
            with device_config.autocast():
                model(batch.image, batch.background)
        except _Found as found:
            return str(found)
    return None


def _explained(part: nn.Module, given: Any, named: Any, y: Any, device_config: DeviceConfig) -> bool:
    """Whether rounding explains the difference between `y` and the output of `part` in float32."""
    given, named = _cast(given, torch.float32), _cast(named, torch.float32)
    with torch.autocast(device_config.device.type, enabled=False):
        r = part(*given, **named)
        q = _rounded(part, given, named, device_config.dtype)
    u = torch.finfo(device_config.dtype).eps / 2
    for low, exact, rounded in zip(_tensors(y), _tensors(r), _tensors(q), strict=True):
        explained = SLACK * (torch.dist(rounded, exact) + u * exact.norm())
        if not torch.dist(low.float(), exact) <= explained:  # `not <=` so that NaN counts as wrong
            return False
    return True


def _rounded(part: nn.Module, given: Any, named: Any, dtype: torch.dtype) -> Any:
    """The output of `part` in float32 with its weights, and the outputs of all its leaf modules, rounded to `dtype`."""

    def cut(value: Any) -> Any:
        return _cast(_cast(value, dtype), torch.float32)

    with ExitStack() as hooks:
        for one in part.modules():
            if not any(one.children()):
                hooks.callback(one.register_forward_hook(lambda _, __, out: cut(out)).remove)
        weights = {name: cut(value.detach()) for name, value in part.named_parameters()}
        return functional_call(part, weights, given, named)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast all floating-point tensors of a nested structure to `dtype`."""
    match value:
        case Tensor():
            return value.to(dtype) if value.is_floating_point() else value
        case tuple() | list():
            return type(value)(_cast(one, dtype) for one in value)
        case dict():
            return {key: _cast(one, dtype) for key, one in value.items()}
        case _:
            return value


def _tensors(value: Any) -> Iterator[Tensor]:
    """All floating-point tensors of an output, in order."""
    match value:
        case Tensor() if value.is_floating_point():
            yield value
        case tuple() | list():
            for one in value:
                yield from _tensors(one)
        case dict():
            yield from _tensors([*value.values()])
        case _ if is_dataclass(value):
            yield from _tensors([getattr(value, field.name) for field in fields(value)])
