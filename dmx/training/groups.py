"""Parameter groups: no weight decay on norms and biases, and layer-wise learning-rate decay in the encoder.

Layer l = 0, ..., L-1 of an encoder with L layers has the learning rate

    lr_l = lr · encoder_lr · layer_decay^(L - l)

and all other parameters have lr, including stems before the encoder, which are not pretrained. This is the layer-wise
decay of Bao et al. 2022 (BEiT, fine-tuning), with the decoders in place of its head. Layers are ordered by execution
and not by definition, as some encoders define all patch embeddings before all blocks. With encoder_lr = 0 the encoder
is frozen, and in no group.

An optimizer for hidden layers only, such as Muon, updates the first and last layers (`ends`) and the parameters without
weight decay by a fallback method.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from dmx.config.experiment import GroupsConfig
from dmx.errors import UserError
from dmx.models import DepthMaskModel
from dmx.quartet import Prediction
from dmx.registry import Params

Node = Any  # autograd's nodes have no public type
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def make_optimizer(
    optimizer: Params,
    model: nn.Module,
    settings: GroupsConfig,
    dry_run: Callable[[], object],
    others: Iterable[nn.Parameter] = (),
) -> Optimizer:
    """Create the optimizer with a model's parameter groups; the first group has the full learning rate.

    Args:
        optimizer: A registered optimizer with its parameters.
        model: The model to train.
        settings: The settings of the parameter groups.
        dry_run: Runs `model` once on an input that requires a gradient and returns its outputs, so that the order of
            its layers can be observed.
        others: Further learned parameters, such as those of a weighting; they get no weight decay, which would pull a
            weighting towards equal weights.

    Raises:
        UserError: The encoder's learning rate is to be scaled, but the model has no encoder.
    """
    hidden = optimizer.component.facts.get("hidden_layers", False)
    groups = parameter_groups(model, settings, dry_run, hidden_layers=hidden)
    if learned := list(others):
        groups.append({"params": learned, "weight_decay": 0.0, "lr_scale": 1.0})
    scales = [group.pop("lr_scale") for group in groups]
    made: Optimizer = optimizer.bind()(groups)
    for group, scale in zip(made.param_groups, scales, strict=True):
        group["lr"] *= scale
    return made


def parameter_groups(
    model: nn.Module, settings: GroupsConfig, dry_run: Callable[[], object], *, hidden_layers: bool = False
) -> list[dict[str, Any]]:
    """Assign each parameter of `model` but those of a frozen encoder to one group, sorted by falling learning rate.

    Groups have the keys `params` (in the model's order), `lr_scale` (the factor on the learning rate) and, if they
    are not decayed, `weight_decay` = 0. With default settings there are two groups, or one if all parameters are of
    one kind. With `hidden_layers`, groups of other parameters have `use_fallback`, timm's key for what Muon leaves to
    AdamW.

    Raises:
        UserError: The encoder's learning rate is to be scaled, but the model has no encoder.
    """
    without_decay = without_weight_decay(model)
    outside = without_decay | ends(model, dry_run) if hidden_layers else set()
    scales = encoder_scales(model, settings, dry_run)
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if scales.get(name) == 0:
            continue
        decays = settings.decay_norms_and_biases or name not in without_decay
        groups.setdefault((scales.get(name, 1.0), decays, name not in outside), []).append(parameter)
    return [
        {
            "params": groups[scale, decays, hidden],
            "lr_scale": scale,
            **({} if decays else {"weight_decay": 0.0}),
            **({} if hidden else {"use_fallback": True}),
        }
        for scale, decays, hidden in sorted(groups, reverse=True)
    ]


def ends(model: nn.Module, dry_run: Callable[[], object]) -> set[str]:
    """The names of the weights of the first and last layers, see `end_weights`; frozen ones count as layers."""
    with learning(model):
        seen = dry_run()
        outputs = vars(seen).values() if isinstance(seen, Prediction) else [seen]
        found = end_weights(output for output in outputs if isinstance(output, Tensor))
    return {name for name, parameter in model.named_parameters() if parameter in found}


@contextmanager
def learning(model: nn.Module) -> Iterator[None]:
    """Let all parameters require gradients for the time being, so that autograd's graph has them all."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def without_weight_decay(model: nn.Module) -> set[str]:
    """The names of the parameters without weight decay.

    These are one-dimensional parameters (norms, biases, layer scales), and those that a module's `no_weight_decay()`
    lists, timm's convention for tokens and position embeddings. timm's wrappers for multi-scale features drop that
    method, so tokens and position embeddings are also recognised by name.
    """
    flat = {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or re.search(r"(pos_embed|position_bias_table|_token)$", name)
    }
    named = {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if callable(asked := getattr(module, "no_weight_decay", None))
        for name in asked()
    }
    return flat | named


def encoder_scales(model: nn.Module, settings: GroupsConfig, dry_run: Callable[[], object]) -> dict[str, float]:
    """The factor on the learning rate of each encoder parameter, by its name in `model`.

    Raises:
        UserError: The encoder's learning rate is to be scaled, but the model has no encoder.
    """
    if settings.encoder_lr == settings.layer_decay == 1:
        return {}
    prefix, encoder = encoder_of(model, settings)
    if settings.encoder_lr == 0:
        return {f"{prefix}.{name}": 0.0 for name, _ in encoder.named_parameters()}
    layers = layers_of(encoder, dry_run)
    scales = {}
    for name, _ in encoder.named_parameters():
        # parameters outside of all layers, such as tokens and position embeddings, count as layer 0
        layer = next((i for i, inside in enumerate(layers) if name in inside), 0)
        scales[f"{prefix}.{name}"] = settings.encoder_lr * settings.layer_decay ** (len(layers) - layer)
    return scales


def encoder_of(model: nn.Module, settings: GroupsConfig) -> tuple[str, nn.Module]:
    """The name and the module of a model's encoder.

    Raises:
        UserError: It has none.
    """
    found = next(((name, part) for name, part in model.named_modules() if name.split(".")[-1] == "encoder"), None)
    if found is None:
        raise UserError(
            f"groups: encoder_lr={settings.encoder_lr:g} and layer_decay={settings.layer_decay:g} are about the "
            f"encoder, but {type(getattr(model, 'net', model)).__name__} has no part of that name; set both to 1."
        )
    return found


def freeze_encoder(model: DepthMaskModel, settings: GroupsConfig) -> None:
    """Freeze the encoder where its learning rate is 0; done before the optimizer is made.

    Raises:
        UserError: The model has no encoder.
    """
    if settings.encoder_lr == 0:
        model.freeze(encoder_of(model, settings)[1])


def layers_of(encoder: nn.Module, dry_run: Callable[[], object]) -> list[set[str]]:
    """The parameter names of each layer in execution order; layers are the encoder's children, containers flattened.

    A child without a matrix or kernel, such as a norm, belongs to the layer before it.
    """
    layers: list[set[str]] = []
    for prefix, child in in_order_of_use(list(_opened(encoder, "")), dry_run):
        parameters = dict(child.named_parameters(prefix=prefix))
        if not layers or any(parameter.ndim > 1 for parameter in parameters.values()):
            layers.append(set())
        layers[-1] |= parameters.keys()
    return layers


def in_order_of_use(
    children: list[tuple[str, nn.Module]], dry_run: Callable[[], object]
) -> list[tuple[str, nn.Module]]:
    """The children in the order in which `dry_run` first calls them; an uncalled one stays behind its predecessor."""
    called: list[nn.Module] = []
    hooks = [child.register_forward_pre_hook(lambda module, _: called.append(module)) for _, child in children]
    dry_run()
    for hook in hooks:
        hook.remove()
    places, place = [], -1
    for _, child in children:
        place = called.index(child) if child in called else place
        places.append(place)
    return [children[i] for i in sorted(range(len(children)), key=places.__getitem__)]


def _opened(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The children with parameters, by name; a container, or an only child, is replaced by its own children."""
    children = [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]
    for name, child in children:
        nested = any(True for _ in child.children())
        if nested and (isinstance(child, CONTAINERS) or len(children) == 1):
            yield from _opened(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def end_weights(outputs: Iterable[Tensor]) -> set[nn.Parameter]:
    """The weights of the first layers, which no layer precedes, and of the last ones, which no layer follows.

    A layer is an autograd operation that combines an activation, which depends on the input, with a matrix or kernel;
    the layers lie between an input that requires a gradient and `outputs`.
    """
    roots = [output.grad_fn for output in outputs if output.grad_fn is not None]
    known = Weights(roots)
    found = {
        weight
        for node in known.of
        if node in known.from_input and any(child in known.bare for child in _children(node))
        for weight in known.of[node]
    }
    seen: set[Node] = set()
    waiting = [root for root in roots if root in known.from_input]
    while waiting:
        node = waiting.pop()
        found |= known.of[node]
        below = [] if known.of[node] else [child for child in _children(node) if child in known.from_input]
        waiting += [child for child in below if child not in seen]
        seen |= {*below}
    return found


class Weights:
    """How inputs and weights reach the nodes of the autograd graph of some outputs.

    Attributes:
        of: For each node, the matrices and kernels that reach it through nodes that do not depend on the input.
        from_input: The nodes that depend on the input; leaves other than parameters are inputs.
        bare: The nodes of `from_input` that the input reaches without passing a layer.
    """

    def __init__(self, roots: Iterable[Node]) -> None:
        self.of: dict[Node, frozenset[nn.Parameter]] = {}
        self.from_input: set[Node] = set()
        self.bare: set[Node] = set()
        for node in _children_first(roots):
            self._add(node, getattr(node, "variable", None), _children(node))

    def _add(self, node: Node, leaf: Tensor | None, below: list[Node]) -> None:
        is_input = leaf is not None and not isinstance(leaf, nn.Parameter)
        own = {leaf} if isinstance(leaf, nn.Parameter) and leaf.ndim > 1 else set()
        self.of[node] = frozenset(own.union(*(self.of[child] for child in below if child not in self.from_input)))
        if is_input or any(child in self.from_input for child in below):
            self.from_input.add(node)
        if is_input or (not self.of[node] and any(child in self.bare for child in below)):
            self.bare.add(node)


def _children(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]


def _children_first(roots: Iterable[Node]) -> Iterator[Node]:
    """All nodes in post-order, each after its children; iterative, as networks are deeper than Python's stack."""
    seen: set[Node] = set()
    waiting = [(root, False) for root in roots]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting += [(child, False) for child in _children(node)]
