"""Which layers come first and last in a network, read from how autograd says its outputs came to be."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Node = Any  # autograd's nodes have no public type


@dataclass(frozen=True)
class Layers:
    """The parameters of the layers that none is before, and of those that none is behind.

    A layer is an operation of autograd that what comes from the input goes through, together with a matrix or kernel.
    """

    first: frozenset[nn.Parameter]
    last: frozenset[nn.Parameter]


def layers(outputs: Iterable[Tensor]) -> Layers:
    """The first and last layers on the way from an input that requires a gradient to `outputs`."""
    roots = [output.grad_fn for output in outputs if output.grad_fn is not None]
    known = Weights(roots)
    first = {
        weight
        for node in known.of
        if node in known.from_input and any(child in known.bare for child in _children(node))
        for weight in known.of[node]
    }
    last: set[nn.Parameter] = set()
    seen: set[Node] = set()
    waiting = [root for root in roots if root in known.from_input]
    while waiting:
        node = waiting.pop()
        last |= known.of[node]
        below = [] if known.of[node] else [child for child in _children(node) if child in known.from_input]
        waiting += [child for child in below if child not in seen]
        seen |= {*below}
    return Layers(frozenset(first), frozenset(last))


class Weights:
    """What stands in the graph behind some outputs.

    Attributes:
        of: Of each node, the matrices and kernels that come to it without passing what comes from the input.
        from_input: The nodes that the input comes to; leaves that are no parameters are inputs.
        bare: Those of them that it comes to without passing a layer.
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
    """All nodes, each after its children; without recursion, as networks are deeper than Python's stack."""
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
