"""Every weighting against its authors' algorithm, written anew: a made course of losses and gradients, step by step.

`course` goes on for 60 steps in six epochs: one loss halves every 20 steps, the other hardly falls; the gradients, of
five parameters, turn against each other and back, and their lengths differ by up to ten. Where ours deviates on
purpose, the algorithm here is given the same, and the docstring of the weighting lists it.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar, root

import dmx.weighting  # noqa: F401  registers
from dmx.registry import weightings
from dmx.weighting.kinds import GradientWeighting

TASKS = ("mask", "depth")
STEPS, EPOCH = 60, 10
Step = tuple[np.ndarray, np.ndarray]


def course() -> Iterator[Step]:
    """The losses (2,) and gradients (2, 5) of each step."""
    for t in range(STEPS):
        angle = 0.3 + 2.5 * np.sin(t / 9)
        along, across = np.array([1.0, 0.5, 0, -1, 2]), np.array([-1.0, 2, 3, 1, 0.5])
        turned = np.cos(angle) * along / np.linalg.norm(along) + np.sin(angle) * across / np.linalg.norm(across)
        losses = np.array([2.0 ** (-t / 20), 0.7 + 0.1 * np.cos(t)])
        yield losses, np.stack([along * losses[0], (1 + 9 * (t % 7) / 6) * turned])


def fixed() -> Iterator[list[float]]:
    for _ in course():
        yield [0.5, 2.0]


def uncertainty() -> Iterator[list[float]]:
    """Kendall et al., eq. 7: L / σ² + ln σ of a classification, eq. 5: L / 2σ² + ln σ of a regression; learned in σ."""
    s = np.zeros(2)
    c = np.array([1, 0.5])
    for L, _ in course():
        sigma = np.exp(s / 2)
        yield list(c / sigma**2)
        by_sigma = -2 * c * L / sigma**3 + 1 / sigma
        s = s - 0.1 * by_sigma * sigma / 2  # dσ/ds = σ/2; a plain step in s = ln σ²


def imtl_l() -> Iterator[list[float]]:
    """Liu et al. 2021: a scale of each loss, g = e^s L - s."""
    s = np.zeros(2)
    for L, _ in course():
        yield list(np.exp(s))
        s = s - 0.1 * (np.exp(s) * L - 1)


def gls() -> Iterator[list[float]]:
    """Chennupati et al.: the n-th root of the product, by finite differences."""
    for L, _ in course():
        yield [(np.prod(L + 1e-6 * one) ** 0.5 - np.prod(L - 1e-6 * one) ** 0.5) / 2e-6 for one in np.eye(2)]


def dwa(T: float = 2.0) -> Iterator[list[float]]:
    """Liu, Johns and Davison: weights of epoch t from the mean losses of t - 1 and t - 2."""
    means: list[np.ndarray] = []
    losses = [L for L, _ in course()]
    for epoch in range(STEPS // EPOCH):
        w = means[-1] / means[-2] if epoch > 1 else np.ones(2)
        for _ in range(EPOCH):
            yield list(2 * np.exp(w / T) / np.exp(w / T).sum())
        means.append(np.mean(losses[epoch * EPOCH : (epoch + 1) * EPOCH], axis=0))


def rlw() -> Iterator[list[float]]:
    """Lin et al.: weights of a normal distribution, made to sum to 1 by e^z."""
    generator = torch.Generator().manual_seed(3)
    for _ in course():
        e = np.exp(torch.randn(2, generator=generator).numpy().astype(float))
        yield list(e / e.sum())


def famo(beta: float = 0.025, gamma: float = 0.01) -> Iterator[list[float]]:
    """Liu, Feng, Stone and Liu, as their code has it: torch's Adam, with decay, on the slope of <softmax(ξ), δ>."""
    xi = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([xi], lr=beta, weight_decay=gamma)
    before = None
    for L, _ in course():
        now = torch.tensor(L)
        if before is not None:
            adam.zero_grad()
            (torch.softmax(xi, 0) * (before.log() - now.log())).sum().backward()
            adam.step()
        z = torch.softmax(xi, 0).detach()
        yield ((z / now) / (z / now).sum()).tolist()
        before = now


def gradnorm(alpha: float = 1.5, lr: float = 0.025) -> Iterator[list[float]]:
    """Chen et al., algorithm 1, its step in v = ln w and of L_grad / Ḡ, which is listed as ours."""
    w, first = np.ones(2), None
    for L, g in course():
        yield list(w)
        first = L if first is None else first
        G = w * np.linalg.norm(g, axis=1)
        r = (L / first) / np.mean(L / first)
        target = G.mean() * r**alpha

        def L_grad(w: np.ndarray, g=g, target=target) -> float:
            return np.abs(w * np.linalg.norm(g, axis=1) - target).sum()

        by_w = np.array([(L_grad(w + 1e-7 * one) - L_grad(w - 1e-7 * one)) / 2e-7 for one in np.eye(2)])
        w = w * np.exp(-lr * by_w * w / G.mean())
        w = 2 * w / w.sum()


def pcgrad() -> Iterator[list[float]]:
    """Yu et al., algorithm 1: of two tasks each loses its projection on the other where they conflict."""
    for _, g in course():
        inner = g[0] @ g[1]
        mended = [g[i] - min(inner, 0) / (g[j] @ g[j]) * g[j] for i, j in ((0, 1), (1, 0))]
        yield list(np.linalg.lstsq(g.T, sum(mended), rcond=None)[0])


def cagrad(c: float = 0.4) -> Iterator[list[float]]:
    """Liu et al. 2021, algorithm 1: w by a search in one dimension, then the update d itself."""
    for _, g in course():
        g0 = g.mean(0)
        phi = c**2 * g0 @ g0

        def F(x: float, g=g, g0=g0, phi=phi) -> float:
            g_w = x * g[0] + (1 - x) * g[1]
            return g_w @ g0 + np.sqrt(phi) * np.linalg.norm(g_w)

        x = minimize_scalar(F, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}).x
        x = min((x, 0.0, 1.0), key=F)
        g_w = x * g[0] + (1 - x) * g[1]
        d = g0 + np.sqrt(phi) / np.linalg.norm(g_w) * g_w
        yield list(np.linalg.lstsq(g.T, d, rcond=None)[0])


def mgda() -> Iterator[list[float]]:
    """Sener and Koltun, algorithm 1: the least norm between two gradients, by cases."""
    for _, g in course():
        if g[0] @ g[1] >= g[0] @ g[0]:
            gamma = 1.0
        elif g[0] @ g[1] >= g[1] @ g[1]:
            gamma = 0.0
        else:
            gamma = (g[1] - g[0]) @ g[1] / ((g[0] - g[1]) @ (g[0] - g[1]))
        yield [gamma, 1 - gamma]


def nash_mtl() -> Iterator[list[float]]:
    """Navon et al., algorithm 1: the α > 0 with G α = 1/α, G over its Frobenius norm, by a root finder in ln α."""
    for _, g in course():
        G = g @ g.T / np.linalg.norm(g @ g.T)
        G += 1e-6 * np.diag(np.diag(G))  # listed as ours
        start = -np.log(np.sqrt(np.diag(G)))
        found = root(lambda x, G=G: G @ np.exp(x) * np.exp(x) - 1, start, method="lm", tol=1e-13)
        assert np.abs(found.fun).max() < 1e-8
        yield list(np.exp(found.x))


def aligned_mtl() -> Iterator[list[float]]:
    """Senushkin et al.: singular values of the gradients' matrix all set to the least."""
    for _, g in course():
        U, sigma, Vt = np.linalg.svd(g.T, full_matrices=False)
        yield list(np.linalg.lstsq(g.T, (sigma.min() * U @ Vt).sum(1), rcond=None)[0])


PUBLISHED: dict[str, Callable[[], Iterator[list[float]]]] = {
    made.__name__: made
    for made in (
        fixed,
        uncertainty,
        imtl_l,
        gls,
        dwa,
        rlw,
        famo,
        gradnorm,
        pcgrad,
        cagrad,
        mgda,
        nash_mtl,
        aligned_mtl,
    )
}
PARAMETERS = {"fixed": {"mask": 0.5, "depth": 2.0}}


def ours(name: str) -> Iterator[list[float]]:
    """The weights of each step."""
    torch.manual_seed(3)
    weighting = weightings[name].params(**PARAMETERS.get(name, {})).bind()(TASKS).double()
    learned = [*weighting.parameters()]
    optimizer = torch.optim.SGD(learned, lr=0.1) if learned else None
    for t, (L, g) in enumerate(course(), start=1):
        if isinstance(weighting, GradientWeighting):
            weighting(torch.tensor(L), torch.tensor(g @ g.T))
        else:
            total = weighting(dict(zip(TASKS, torch.tensor(L), strict=True)))
        yield list(weighting.weights().values())
        if optimizer is not None:
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        if t % EPOCH == 0:
            weighting.epoch_ended()


@pytest.mark.parametrize("name", weightings)
def test_every_step_is_the_authors(name):
    """Tightly: each number of ours differs by less than 1e-5 of its size, and most of them move."""
    expected = np.array(list(PUBLISHED[name]()))
    assert np.array(list(ours(name))) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    if name != "fixed":
        assert np.ptp(expected, axis=0).min() > 0.02


def test_famo_after_a_thousand_steps():
    """One loss halves every 200 steps, the other stands still: z_1 - z_2 rests where J^T δ = -γ ξ, and Adam gets there.

    δ = (ln 2 / 200, 0), so ξ = ∓ z_1 z_2 δ / γ: z = 0.457 and 0.543.
    """
    weighting = weightings["famo"].params().bind()(TASKS).double()
    for t in range(1001):
        weighting({"mask": torch.tensor(2.0 ** (-t / 200)).double(), "depth": torch.tensor(1.0).double()})
    z = torch.softmax(weighting.xi, 0).tolist()
    assert z == pytest.approx([0.457, 0.543], abs=5e-4)
    rest = z[0] * z[1] * np.log(2) / 200 / 0.01
    assert weighting.xi.tolist() == pytest.approx([-rest, rest], rel=1e-3)


@pytest.mark.parametrize("tasks", [2, 3])
def test_gradnorm_comes_to_rest_where_the_papers_form_does(tasks):
    """Algorithm 1 as printed: plain steps in w along the slope of L_grad; ours is in ln w and of L_grad / Ḡ.

    Both rest where w_i |g_i| = Ḡ r_i^α and Σ w = T, which is also computed outright; α = 1, so that there is such a w.
    """
    g, ratio, alpha, lr = np.array([1.0, 4.0, 0.5])[:tasks], np.array([0.3, 0.9, 0.5])[:tasks], 1.0, 2e-3
    w = np.ones(tasks)
    names = [str(i) for i in range(tasks)]
    weighting = weightings["gradnorm"].params(alpha=alpha, lr=lr).bind()(names).double()
    weighting(torch.ones(tasks).double(), torch.tensor(np.diag(g**2)))
    r = ratio / ratio.mean()
    for _ in range(1500):
        w = w - lr * np.sign(w * g - np.mean(w * g) * r**alpha) * g
        w = tasks * w / w.sum()
        mine = weighting(torch.tensor(ratio), torch.tensor(np.diag(g**2)))
    rest = r**alpha / g
    rest = tasks * rest / rest.sum()
    assert w == pytest.approx(rest, abs=5 * lr * g.max())
    assert mine.numpy() == pytest.approx(rest, abs=5 * lr)


@pytest.mark.parametrize("name", ["pcgrad", "cagrad", "nash_mtl", "aligned_mtl"])
def test_three_tasks_by_a_solver_on_the_vectors(name, vectors, weigh):
    """The same for more tasks than two, where ours iterates: d itself, by scipy."""
    for seed in range(5):
        g = vectors(seed, tasks=3, size=6)
        torch.manual_seed(seed)
        d = weigh(weightings[name].params().bind()(("a", "b", "c")), g) @ g
        torch.manual_seed(seed)
        assert d == pytest.approx(of_three(name, g), rel=2e-3, abs=2e-3 * np.abs(d).max())


def of_three(name: str, g: np.ndarray) -> np.ndarray:
    """The update for three tasks."""
    simplex = {"bounds": [(0, 1)] * 3, "constraints": {"type": "eq", "fun": lambda w: w.sum() - 1}, "method": "SLSQP"}
    options = {"x0": np.full(3, 1 / 3), "options": {"ftol": 1e-14, "maxiter": 1000}}
    unit = np.linalg.norm(g.mean(0))
    if name == "pcgrad":
        total = np.zeros(g.shape[1])
        for i in range(3):
            mine = g[i].copy()
            for j in torch.randperm(3).tolist():
                if j != i:
                    mine -= min(mine @ g[j], 0) / (g[j] @ g[j]) * g[j]
            total += mine
        return total
    if name == "cagrad":
        g0 = g.mean(0)
        size = 0.4 * np.linalg.norm(g0)
        w = minimize(lambda w: ((w @ g) @ g0 + size * np.linalg.norm(w @ g)) / unit**2, **simplex, **options).x
        return g0 + size / np.linalg.norm(w @ g) * (w @ g)
    if name == "nash_mtl":
        G = g @ g.T / np.linalg.norm(g @ g.T)
        x = root(lambda x: G @ np.exp(x) * np.exp(x) - 1, -np.log(np.sqrt(np.diag(G))), method="lm", tol=1e-12).x
        return np.exp(x) @ g
    U, sigma, Vt = np.linalg.svd(g.T, full_matrices=False)
    return (sigma.min() * U @ Vt).sum(1)
