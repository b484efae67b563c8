"""The packages that dmx needs, and those of its extras."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from dmx.doctor.finding import Finding, ok, warning, wrong

SECTION = "packages"
EXTRAS = {
    "depth": "export, networks of others, the model depth_anything",
    "postgres": "studies on several machines",
    "pretrained": "encoders trained on ImageNet where no hub is reached",
    "ray": "sweeps on a Ray cluster",
}
"""What each extra for users is for."""


def packages() -> Iterator[Finding]:
    """Versions against the bounds that dmx declares."""
    yield ok(SECTION, f"dmx {version('dmx')}, Python {platform.python_version()}, {platform.platform()}")
    bounds = [Requirement(line) for line in requires("dmx") or []]
    needed = [one for one in bounds if one.marker is None or one.marker.evaluate({"extra": ""})]
    problems = [problem for one in needed if (problem := unmet(one)) is not None]
    for problem in problems:
        yield wrong(SECTION, problem, "install dmx anew: `make setup`, or `pip install --upgrade dmx`")
    if not problems:
        named = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "mlflow", "albumentations"))
        yield ok(SECTION, f"all {len(needed)} that dmx needs: {named} and others")
    for extra, purpose in EXTRAS.items():
        yield extra_finding(extra, purpose, [one for one in bounds if belongs(one, extra)])


def belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is of this extra alone."""
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def extra_finding(extra: str, purpose: str, bounds: list[Requirement]) -> Finding:
    """Whether an extra is there; one that is missing is no fault."""
    problems = [problem for one in bounds if (problem := unmet(one)) is not None]
    if not problems:
        return ok(SECTION, f"extra {extra} is installed ({purpose})")
    if len(problems) == len(bounds) and all("not installed" in problem for problem in problems):
        return ok(SECTION, f"extra {extra} is not installed ({purpose}: `pip install dmx[{extra}]`)")
    return warning(SECTION, f"extra {extra} is incomplete: {'; '.join(problems)}", f"`pip install dmx[{extra}]`")


def unmet(requirement: Requirement) -> str | None:
    """What is wrong with the installed version of a requirement; None if nothing."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} {found} is outside of {requirement.specifier}"
