"""Send a bundle to a model hub, by the hub's own client."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmx import __version__
from dmx.deliver.bundle.check import checked
from dmx.deliver.bundle.names import FACTS
from dmx.errors import MachineError, UserError
from dmx.foreign.extra import extra

SECONDS = 60.0
"""Most that the hub may stay silent."""
LOGIN = "log in by `hf auth login`, or set HF_TOKEN to a token with the right to write"


def push(folder: Path, repository: str, *, public: bool) -> str:
    """Send a bundle, once it is checked, as one commit to a repository, which is created if it is not there.

    The client finds the hub and the user's token as it always does: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.

    Args:
        folder: The bundle.
        repository: Its name, such as `me/rooms`.
        public: Whether a new repository is for all to see; one that is there stays as it is.

    Raises:
        UserError: The bundle is refused, the client is not installed, or the hub refuses the name or the user.
        MachineError: The hub cannot be reached, or fails.

    Returns:
        The address of the commit.
    """
    files = checked(folder)
    run = json.loads(files[FACTS].read_bytes())["run"]
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    hub = extra("huggingface_hub")
    extra("huggingface_hub.utils").get_session().timeout = SECONDS
    api = hub.HfApi(library_name="dmx", library_version=__version__)
    with explained(repository):
        api.create_repo(repository, private=not public, exist_ok=True)
        additions = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(path)) for name, path in files.items()
        ]
        done = api.create_commit(repository, additions, commit_message=f"{run}, exported by dmx {__version__}")
    return str(done.commit_url)


@contextmanager
def explained(repository: str) -> Iterator[None]:
    """Turn the client's errors into messages.

    Raises:
        UserError: The user can mend it.
        MachineError: The hub or the way to it has failed.
    """
    errors = extra("huggingface_hub.errors")
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise UserError(f"nobody is logged in to the hub; {LOGIN}.") from error
    except errors.HFValidationError as error:
        raise UserError(f"'{repository}' is no name of a repository ({error}); name it as in `me/rooms`.") from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError("HF_HUB_OFFLINE is set, so that nothing is sent; unset it to push.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 500
        said = " ".join(str(error).split())[:300]
        if status in (401, 403):
            raise UserError(f"the hub does not let you write to {repository} ({said}); {LOGIN}.") from error
        if status < 500 and status not in (408, 429):
            raise UserError(f"the hub refuses {repository} ({said}); give another name.") from error
        raise MachineError(f"the hub failed ({said}); the same command tries again.") from error
    except (errors.HTTPError, OSError) as error:  # of the library below: no answer, no such host
        raise MachineError(f"the hub cannot be reached ({error}); the same command tries again.") from error
