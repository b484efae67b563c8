"""Studies that are there, to be looked at: nothing is made or changed."""

from dmx.config import StudyConfig, parse_study
from dmx.errors import UserError, did_you_mean
from dmx.sweep.agreement import agreed, check_storage
from dmx.sweep.claims import Claims
from dmx.sweep.known import check_own, no_trials
from dmx.sweep.storage import JOURNAL, look_at_journal
from dmx.tracking.home import Home
from dmx.written import read_yaml

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
    return parse_study(read_yaml(path), str(path))


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
        check_own(home, name, range(config.trials), no_trials)
        raise UserError(f"{home.study(name)} has no {JOURNAL}; the same `dmx sweep` begins it anew.")
    storage = look_at_journal(home.study(name))
    if name not in {study.study_name for study in storage.get_all_studies()}:
        check_own(home, name, range(config.trials), no_trials)
        raise UserError(
            f"{home.study(name) / JOURNAL}: is damaged (nothing of study '{name}' is in it); restore it from a copy, "
            "or the same `dmx sweep` begins it anew."
        )
    claims = Claims(storage, name, config.trials)
    check_own(home, name, range(config.trials), claims.trials)
    return config, claims
