"""Pretrained weights: found in the cache or at the hub, or refused at once.

Left alone, the download retries for 47 s without a network before it says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dmx.errors import UserError

SECONDS = 2.5


@dataclass(frozen=True)
class Pretrained:
    """Where weights lie at the hub.

    Attributes:
        repo: The repository.
        revision: Its commit; None: the newest.
        files: What is read of it.
        licence: Under which licence; None where the library does not say.
    """

    repo: str
    revision: str | None
    files: tuple[str, ...]
    licence: str | None


def require_weights(encoder: str, weights: str, known: Mapping[str, Pretrained]) -> None:
    """Make sure that `weights` of `encoder` are in the cache or can be downloaded into it.

    Args:
        encoder: The encoder's name, for messages.
        weights: Which weights are asked for.
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
    except Exception as error:  # which errors the hub's client raises changes with its HTTP library
        revision = f" --revision {at}" if at else ""
        raise UserError(
            f"the {weights} weights of encoder '{encoder}' are not in the cache {constants.HF_HUB_CACHE} and cannot be "
            f"downloaded from {constants.ENDPOINT}/{repo} ({type(error).__name__}); "
            f"use weights=none, or put them into the cache where there is a network: hf download {repo}{revision}"
        ) from error
