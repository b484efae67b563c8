"""Pretrained weights: found in the cache or at the hub, or refused at once.

Left alone, the download retries for 47 s without a network before it says so.
"""

from collections.abc import Mapping
from typing import Any

from dmx.errors import UserError

FILES = ("config.json", "model.safetensors")
SECONDS = 2.5


def require_weights(encoder: str, weights: str, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Make sure that `weights` of `encoder` are in the cache or can be downloaded into it.

    Args:
        encoder: The encoder's name, for messages.
        weights: Which weights are asked for.
        known: The encoder's weights by name, each with `repo_id` and `revision` at the hub.

    Raises:
        UserError: The encoder has no such weights, or they are not in the cache and the hub does not answer.
    """
    if weights not in known:
        others = f"only {', '.join(sorted(known))}" if known else "none at all"
        raise UserError(f"encoder '{encoder}' has no pretrained weights '{weights}' ({others}); use weights=none.")
    # Imported here: it comes with segmentation-models-pytorch, and importing dmx.models must stay light.
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    repo, revision = known[weights]["repo_id"], known[weights]["revision"]
    missing = [name for name in FILES if not isinstance(try_to_load_from_cache(repo, name, revision=revision), str)]
    try:
        for name in missing:
            get_hf_file_metadata(hf_hub_url(repo, name, revision=revision), timeout=SECONDS)
    except Exception as error:  # which errors the hub's client raises changes with its HTTP library
        raise UserError(
            f"the {weights} weights of encoder '{encoder}' are not in the cache {constants.HF_HUB_CACHE} and cannot be "
            f"downloaded from {constants.ENDPOINT}/{repo} ({type(error).__name__}); "
            f"use weights=none, or put them into the cache where there is a network: "
            f"hf download {repo} --revision {revision}"
        ) from error
