"""What the weights of a run come from, and under which licences that is, as far as it is known."""

from pathlib import Path
from typing import Any

from dmx.data.declaration import Declaration
from dmx.data.layout import read
from dmx.errors import UserError
from dmx.experiment.run_record import read_identity
from dmx.experiment.trained import Trained
from dmx.models.weights import is_path
from dmx.results.records import kept_yaml
from dmx.tracking.home import CONFIG, IDENTITY, Home
from dmx.written import place

RANDOM = "random weights"


def licence(home: Home, network: Trained) -> str:
    """What is known of the licence of a run's weights, in a sentence."""
    declaration = declared(home, network.run, network.config.data.root)
    name = place(network.config.data.root).name if declaration is None else declaration.name
    said = declaration.license if declaration is not None else None
    given = f"whose licence is given as: {said}" if said else "whose licence is not known here"
    return f"learnt from '{name}', {given}; began with {began(home, network)}"


def declared(home: Home, run: str, root: str) -> Declaration | None:
    """What a run's data set in `root` says of itself; None if it is not there any more, or is another one now."""
    try:
        index = read(place(root))
        same = index.fingerprint() == read_identity(home.run(run) / IDENTITY)["data"]
    except UserError:
        return None
    return index.declaration if same else None


def of_start(home: Home, start: str) -> str:
    """What a run started from: another run and the data that it learnt from, or a file."""
    path = home.run(start) / CONFIG
    if is_path(start) or not path.is_file():
        return f"'{Path(start).name}', whose licence is not known here"
    data = kept_yaml(path).get("data") or {}
    return f"the run '{start}', learnt from {data_of(declared(home, start, str(data.get('root', ''))))}"


def data_of(declaration: Declaration | None) -> str:
    """A data set and its licence, as far as they are known."""
    if declaration is None:
        return "data that is not here any more"
    said = declaration.license
    return f"'{declaration.name}', " + (f"whose licence is given as: {said}" if said else "whose licence is not known")


def began(home: Home, network: Trained) -> str:
    """What the weights began with, and its licence.

    The run's file is read, because the configuration of `network` does not say it any more; see `without_beginning`.
    """
    kept = kept_yaml(home.run(network.run) / CONFIG)
    model: dict[str, Any] = kept["model"] if isinstance(kept.get("model"), dict) else {}
    if start := kept.get("start"):
        return f"all weights of {of_start(home, str(start))}"
    name = next((str(model[key]) for key in ("weights", "checkpoint") if model.get(key) not in (None, "none")), None)
    if name is None:
        return RANDOM
    licence_of = network.config.model.component.facts.get("licence")
    known = licence_of(network.config.model) if licence_of is not None else None
    of = f" of '{model['encoder']}'" if "encoder" in model else ""
    if is_path(name):
        return f"the weights{of} in '{Path(name).name}'" + (f"; the published ones are under {known}" if known else "")
    return f"the weights '{name}'{of}, published under {known or 'a licence that is not known here'}"
