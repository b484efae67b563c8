"""The geometry of several objectives; all of them are minimised here."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

Values = Float[np.ndarray, "N M"]


def dominates(F: Values) -> Bool[np.ndarray, "N N"]:
    """Whether point i dominates point j: it is nowhere worse, and somewhere better."""
    a, b = F[:, None], F[None]
    return np.asarray((a <= b).all(2) & (a < b).any(2))


def ranks(F: Values) -> Int[np.ndarray, "N"]:
    """The non-dominated rank of each point: 0 for those that none dominates, 1 for those that only these do, ...

    Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", section III-A.
    """
    if F.shape[1] == 1:
        return np.unique(F[:, 0], return_inverse=True)[1]
    over, found = dominates(F), np.full(len(F), -1)
    rank = 0
    while (left := found < 0).any():
        found[left & ~over[left].any(0)] = rank
        rank += 1
    return found


def hypervolume(F: Values, reference: Float[np.ndarray, "M"]) -> float:
    """The volume between the points and a reference that is worse than they are; points beyond it add nothing.

    Source: Zitzler and Thiele 1999, "Multiobjective evolutionary algorithms: a comparative case study". Slices along
    the last objective, each the volume of the points before it in one dimension less: exact, for some hundred points.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    inside = F[(reference > F).all(1)]
    if not len(inside):
        return 0.0
    if F.shape[1] == 1:
        return float(reference[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    edges = np.append(inside[:, -1], reference[-1])
    depths = np.diff(edges)
    return float(
        sum(depth * hypervolume(inside[: i + 1, :-1], reference[:-1]) for i, depth in enumerate(depths) if depth > 0)
    )


def contributions(F: Values, reference: Float[np.ndarray, "M"]) -> Float[np.ndarray, "N"]:
    """How much of the hypervolume is each point's alone."""
    whole = hypervolume(F, reference)
    return np.array([whole - hypervolume(np.delete(F, i, 0), reference) for i in range(len(F))])


def scaled(F: Values) -> Values:
    """Each objective from 0, its least value, to 1, its greatest; 0 where all are equal."""
    low, high = F.min(0), F.max(0)
    return np.asarray((F - low) / np.where(high > low, high - low, 1))


def order(F: Values) -> list[int]:
    """The points, best first: by rank, and within a rank by their contribution to the scaled hypervolume.

    Source: Schmucker et al. 2021, "Multi-objective asynchronous successive halving", which orders by rank and leaves
    the second key open; the contribution to the hypervolume is that of Beume et al. 2007 (SMS-EMOA). The reference is
    1.1 in every scaled objective.
    """
    S, rank = scaled(F), ranks(F)
    if F.shape[1] == 1:
        return sorted(range(len(F)), key=lambda i: (rank[i], i))
    alone = np.zeros(len(F))
    for level in np.unique(rank):
        here = rank == level
        alone[here] = contributions(S[here], np.full(F.shape[1], 1.1))
    return sorted(range(len(F)), key=lambda i: (rank[i], -alone[i], i))


def knee(F: Values) -> int:
    """The point of the front that is furthest on the good side of the plane through the ends of the scaled front.

    Source: Das 1999, "On characterizing the knee of the Pareto curve". The plane is Σ_m f_m = 1, so it is the point
    with the least sum.
    """
    front = np.flatnonzero(ranks(F) == 0)
    return int(front[np.argmin(scaled(F[front]).sum(1))])


def falling(values: Sequence[Sequence[float]], directions: Sequence[str]) -> Values:
    """Values of objectives with these directions, turned so that all are to be minimised."""
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    return np.asarray(np.asarray(values, dtype=float).reshape(-1, len(signs)) * signs)
