"""A quick check that pretrained weights are in the cache or available from the hub.

Without this check, a download without a network would retry for 47 s before it fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dmx.errors import UserError

SECONDS = 2.5


@dataclass(frozen=True)
class Pretrained:
    """The location of weights at the hub.

    Attributes:
        repo: The repository.
        revision: Its commit; None: the newest.
        files: The files that are read.
        licence: Their licence; None if the library does not say.
    """

    repo: str
    revision: str | None
    files: tuple[str, ...]
    licence: str | None


def require_weights(encoder: str, weights: str, known: Mapping[str, Pretrained]) -> None:
    """Check that `weights` of `encoder` are in the cache or can be downloaded.

    Args:
        encoder: The encoder's name, for messages.
        weights: The requested weights.
        known: The encoder's weights by name.

    Raises:
        UserError: The encoder has no such weights, or they are not in the cache and the hub does not answer.
    """
    if weights not in known:
        others = f"only {', '.join(sorted(known))}" if known else "none at all"
        raise UserError(f"encoder '{encoder}' has no pretrained weights '{weights}' ({others}); use weights=none.")
    # Imported here: it comes with segmentation-models-pytorch, and importing dmx.models must stay light.
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    wanted = known[weights]
    repo, at = wanted.repo, wanted.revision
    missing = [name for name in wanted.files if not isinstance(try_to_load_from_cache(repo, name, revision=at), str)]
    try:
        for name in missing:
            get_hf_file_metadata(hf_hub_url(repo, name, revision=at), timeout=SECONDS)
    except Exception as error:  # the hub client's exceptions depend on its HTTP library
        revision = f" --revision {at}" if at else ""
        raise UserError(
            f"the {weights} weights of encoder '{encoder}' are not in the cache {constants.HF_HUB_CACHE} and cannot be "
            f"downloaded from {constants.ENDPOINT}/{repo} ({type(error).__name__}); "
            f"use weights=none, or put them into the cache where there is a network: hf download {repo}{revision}"
        ) from error
