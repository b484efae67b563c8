"""Several objectives: dominance, ranks, hypervolume and knee, of points and of runs.

Points `F` have one row each and one column for each objective; all objectives are minimised (`to_minimize`). Objectives
may have bounds ("IoU at least 0.9"): points that meet all bounds come first, in the order of the objectives without a
bound, then the others, by how much they miss.

Source of the latter: Deb 2000, "An efficient constraint handling method for genetic algorithms".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dmx.config.objective import COSTS, Goal
from dmx.outcome import Outcome
from dmx.results.ranking import Entry, rank

Values = Float[np.ndarray, "N M"]
Missed = Float[np.ndarray, "N"]


def dominates(F: Values) -> Bool[np.ndarray, "N N"]:
    """Return whether point i dominates point j: no worse in any objective and better in at least one."""
    a, b = F[:, None], F[None]
    return np.asarray((a <= b).all(2) & (a < b).any(2))


def ranks(F: Values) -> Int[np.ndarray, "N"]:
    """The non-dominated rank of each point: 0 where no point dominates it, 1 where only points of rank 0 do, ...

    Points with a value that is not finite rank behind all others: a missing value is never best.

    Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", section III-A.
    """
    finite = np.isfinite(F).all(1)
    found = np.zeros(len(F), dtype=int)
    found[finite] = ranks_of_finite(F[finite])
    found[~finite] = found[finite].max(initial=-1) + 1
    return found


def ranks_of_finite(F: Values) -> Int[np.ndarray, "N"]:
    """Compute `ranks` of points whose values are all finite."""
    if F.shape[1] == 1:
        return np.unique(F[:, 0], return_inverse=True)[1]
    over, found = dominates(F), np.full(len(F), -1)
    rank = 0
    while (left := found < 0).any():
        found[left & ~over[left].any(0)] = rank
        rank += 1
    return found


def hypervolume(F: Values, reference: Float[np.ndarray, "M"]) -> float:
    """The volume dominated by the points, bounded by a reference that is worse; points beyond it contribute nothing.

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
    """Return each point's exclusive contribution to the hypervolume."""
    whole = hypervolume(F, reference)
    return np.array([whole - hypervolume(np.delete(F, i, 0), reference) for i in range(len(F))])


def scaled(F: Values) -> Values:
    """Scale each objective from 0 (its least value) to 1 (its greatest); 0 where all are equal."""
    low, high = F.min(0), F.max(0)
    return np.asarray((F - low) / np.where(high > low, high - low, 1))


def levels(F: Values, missed: Missed | None = None) -> Int[np.ndarray, "N"]:
    """The rank of each point where some miss bounds: first `ranks` of those that meet them, then by how much they miss.

    >>> levels(np.array([[1.0], [3.0], [2.0], [0.0]]), np.array([0.2, 0.0, 0.0, 0.1]))
    array([3, 1, 0, 2])
    """
    if missed is None or not missed.any():
        return ranks(F)
    found, met, known = np.zeros(len(F), dtype=int), missed == 0, np.isfinite(F).all(1) & np.isfinite(missed)
    found[met & known] = ranks(F[met & known])
    found[~met & known] = (
        found[met & known].max(initial=-1) + 1 + np.unique(missed[~met & known], return_inverse=True)[1]
    )
    found[~known] = found[known].max(initial=-1) + 1
    return found


def order(F: Values, missed: Missed | None = None) -> list[int]:
    """Sort points, best first: by level, and within a level by their contribution to its scaled hypervolume.

    Each level is scaled by its own points, so points of other levels do not affect it; the reference is 1.1 in every
    objective. Of equal points only the first one contributes.

    Source: ranks as in Deb et al. 2002 (NSGA-II); within a rank as Beume et al. 2007, "SMS-EMOA: multiobjective
    selection based on dominated hypervolume", choose.
    """
    rank, alone = levels(F, missed), np.zeros(len(F))
    for level in np.unique(rank) if F.shape[1] > 1 else ():
        here = np.flatnonzero(rank == level)
        if np.isfinite(F[here]).all():
            first = here[np.sort(np.unique(F[here], axis=0, return_index=True)[1])]
            shares = contributions(scaled(F[first]), np.full(F.shape[1], 1.1))
            alone[first] = shares.round(9)  # ties go to the first point, whatever rounding left
    return sorted(range(len(F)), key=lambda i: (rank[i], -alone[i], i))


HOPELESS = 5.0
"""In units of `behind`: points further from the best value in any objective are no candidates for the knee."""


def behind(F: Values) -> Values:
    """Return each point's distance from the best value per objective, in units of the median of nonzero distances.

    The median is over all points, so a few outliers do not change the unit; 0 where all values are equal.
    """
    gap = F - F.min(0)
    unit = [np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in gap.T]
    return np.asarray(gap / np.array(unit))


def knee(F: Values) -> int:
    """Return the point of the front that is closest to the best values of all objectives.

    Points that are hopeless in one objective are dropped first; `behind` is recomputed for the others, and the point of
    their front with the least Σ_m behind_m² is chosen. If that is a tie, as for two points, each of which is the
    other's unit, distances relative to the best value decide.

    Source: the compromise solution of Zeleny 1973, "Compromise programming", p = 2. The unit is our choice: the usual
    one, the range of the front, depends on the front's worst point.

    >>> knee(np.array([[0.0, 10.0], [1.0, 2.5], [4.0, 0.0], [-0.1, 1000.0]]))
    1
    >>> knee(np.array([[3.148, 0.185], [0.9, 0.2]]))
    1
    """
    points = np.flatnonzero(np.isfinite(F).all(1))
    if not len(points):
        return 0
    hopeful = points[(behind(F[points]) <= HOPELESS).all(1)]
    points = hopeful if len(hopeful) else points
    on_front = ranks(F[points]) == 0
    distance = np.where(on_front, np.square(behind(F[points])).sum(1).round(9), np.inf)
    best = F[points].min(0)
    share = np.square((F[points] - best) / np.where(best == 0, 1, best)).sum(1).round(9)
    return int(points[np.lexsort((share, distance))[0]])


def to_minimize(values: Sequence[Sequence[float]], directions: Sequence[str]) -> Values:
    """Convert objective values to points to minimise, by negating objectives that are maximised."""
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    return np.asarray(np.asarray(values, dtype=float).reshape(-1, len(signs)) * signs)


def objective_values(goals: Sequence[Goal], metrics: Mapping[str, float | None]) -> list[float] | None:
    """Return one value per objective; None if any is missing, since a missing value is never 0 and never best."""
    found = [metrics.get(goal.metric) for goal in goals]
    return None if any(value is None for value in found) else [float(value) for value in found if value is not None]


def points(values: Sequence[Sequence[float]], goals: Sequence[Goal]) -> tuple[Values, Missed]:
    """The points by which objective values are ranked, and by how much each misses the bounds in all.

    An objective with a bound is met or missed, and orders nothing beyond that; where all have one, the first does.
    """
    kept = [i for i, goal in enumerate(goals) if goal.bound is None] or [0]
    F = to_minimize([[row[i] for i in kept] for row in values], [str(goals[i].direction) for i in kept])
    missed = [sum(goal.shortfall(value) for goal, value in zip(goals, row, strict=True)) for row in values]
    return F, np.array(missed, dtype=float)


def best_choice(values: Sequence[Sequence[float]], goals: Sequence[Goal]) -> int:
    """The knee of what meets the bounds; where nothing meets them, what misses them least."""
    F, missed = points(values, goals)
    met = np.flatnonzero(missed == 0)
    return int(met[knee(F[met])]) if len(met) else order(F, missed)[0]


def run_values(entry: Entry, goals: Sequence[Goal]) -> list[float] | None:
    """Return a run's objective values at its best epoch; None if any is missing."""
    metrics = entry.result.best.metrics if entry.result.best else {}
    return objective_values(goals, {**metrics, **{cost: entry.record.get(cost) for cost in COSTS}})


def rank_runs(entries: Sequence[Entry], goals: Sequence[Goal]) -> tuple[list[Entry], int, str]:
    """Order runs by several objectives: complete ones by `order`, then the others.

    Returns:
        The runs, best first; the size of the front; and the run at its knee, which is the best choice.

    Raises:
        UserError: Data, split or metric definitions differ between the runs.
    """
    by_one = rank(entries)
    judged = [(entry, run_values(entry, goals)) for entry in by_one if entry.result.outcome is Outcome.COMPLETE]
    complete = [(entry, values) for entry, values in judged if values is not None]
    if not complete:
        return by_one, 0, ""
    values = [found for _, found in complete]
    F, missed = points(values, goals)
    runs = {entry.run for entry, _ in complete}
    ordered = [complete[i][0] for i in order(F, missed)] + [entry for entry in by_one if entry.run not in runs]
    return ordered, int((levels(F, missed) == 0).sum()), complete[best_choice(values, goals)][0].run
