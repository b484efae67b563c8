"""Studies that are there, to be looked at: nothing is made or changed."""

import yaml

from dmx.config import StudyConfig, parse_study
from dmx.errors import UserError, did_you_mean
from dmx.sweep.agreement import agreed, check_storage
from dmx.sweep.claims import Claims
from dmx.sweep.storage import JOURNAL, open_claims
from dmx.tracking.home import Home

STUDY = "study.yaml"


def stored_study(home: Home, name: str) -> StudyConfig:
    """The configuration of a study in `home`.

    Raises:
        UserError: There is none of that name.
    """
    path = home.study(name) / STUDY
    if not path.is_file():
        known = [found.parent.name for found in (home.root / "studies").glob(f"*/{STUDY}")]
        raise UserError(f"no study '{name}' in {home.root}; {did_you_mean(name, known)}. `dmx sweep` makes one.")
    return parse_study(yaml.safe_load(path.read_text()), str(path))


def stored_trials(home: Home, name: str, url: str | None) -> tuple[StudyConfig, Claims]:
    """A study and its trials, in `home` or in the database at `url`.

    Raises:
        UserError: There is none, or its trials are elsewhere.
    """
    if url is not None:
        claims, config, _ = agreed(name, url)
        return config, claims
    config = stored_study(home, name)
    check_storage(home.study(name), None)
    if not (home.study(name) / JOURNAL).is_file():
        raise UserError(f"{home.study(name)} has no {JOURNAL}; the same `dmx sweep` begins it anew.")
    return config, open_claims(config, home.study(name))
