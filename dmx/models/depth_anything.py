r"""Depth Anything: a foundation model of relative or metric depth, fine-tuned with a mask head beside its depth head.

    pictures -> DINOv2, features of four layers -> neck (reassembled, fused) -> depth head -> raw depth
                                                                            \-> mask head  -> mask logits

Sources: Yang et al. 2024, "Depth Anything: unleashing the power of large-scale unlabeled data" (V1), and "Depth
Anything V2"; the backbone: Oquab et al. 2023, "DINOv2"; neck and head: Ranftl et al. 2021, "Vision transformers for
dense prediction". Backbone, neck and depth head are those of the library transformers (extra `depth`), so that its
checkpoints fit. Ours are the mask head, which has the form of the depth head without its last activation, and the form
`two_decoders`.

A background beside the image is seen by further channels of the patches' convolution. They start at 0, so that at the
start the network gives what the checkpoint gives for the image.

The depth head ends in a ReLU (disparity without a scale, `max_depth: null`) or in max_depth σ(r) (metres). That is the
raw depth: with `depth_link: identity` it is the output of transformers, and `auto` makes depth of it (`make_link`).
"""

from copy import deepcopy
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dmx.models.depth_anything_checkpoint import (
    FREE,
    NONE,
    SIZES,
    Checkpoint,
    Size,
    Version,
    colours,
    configuration,
    loaded,
    weights_files,
)
from dmx.models.inputs import Inputs, needs_background, stack_inputs
from dmx.models.joint import EncoderDecoder
from dmx.models.smp.building import leave_out_unused
from dmx.registry import Choice, Params, models

FUSED = 8  # the neck's last features have 8x8 places in each patch: reassembled by 4, then fused and enlarged by 2


class Encoder(nn.Module):
    """Transformers' DINOv2 for 3 or 6 channels, without what only its pretraining needs."""

    def __init__(self, backbone: Any, channels: int) -> None:
        super().__init__()
        self.embeddings = backbone.embeddings
        self.embeddings.mask_token = None
        self.layers = backbone.encoder.layer
        self.norm = backbone.layernorm
        self.taken = tuple(backbone.config.out_indices)  # 0 would be the embeddings
        if channels > 3:
            patches = self.embeddings.patch_embeddings
            patches.projection = widened(patches.projection, channels)
            patches.num_channels = channels

    def no_weight_decay(self) -> set[str]:
        """The names of tokens and positions, which are not decayed."""
        return {"embeddings.cls_token", "embeddings.position_embeddings"}

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B D h w"]]:
        """The normalised features of the taken layers, one place for each patch."""
        side = self.embeddings.patch_embeddings.patch_size
        h, w = x.shape[2] // side[0], x.shape[3] // side[1]
        tokens = self.embeddings(x)
        found = []
        for number, layer in enumerate(self.layers, start=1):
            given = layer(tokens)
            tokens = given[0] if isinstance(given, tuple) else given  # a tuple in transformers 4
            if number in self.taken:
                found.append(self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, (h, w)))
        return found


@torch.no_grad()
def widened(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The convolution for `channels` input channels: the further ones start at 0."""
    wide = nn.Conv2d(channels, convolution.out_channels, convolution.kernel_size, convolution.stride)  # type: ignore[arg-type]
    nn.init.zeros_(wide.weight)
    wide.weight[:, : convolution.in_channels] = convolution.weight
    wide.bias = convolution.bias
    return wide


class DepthAnything(EncoderDecoder):
    """The network of the module's docstring; see `depth_anything` for the parameters.

    Args:
        published: The `DepthAnythingForDepthEstimation` of transformers.
        form: What the tasks share.
        inputs: The input pictures.
    """

    def __init__(self, published: Any, form: Literal["shared", "two_decoders"], inputs: Inputs) -> None:
        super().__init__()
        config = published.config
        self.multiple = config.patch_size
        self.inputs: Inputs = inputs
        self.needs_background = needs_background(inputs)
        if config.depth_estimation_type == "metric":
            self.raw_depth, self.farthest = "metres", float(config.max_depth)
        else:
            self.raw_depth = "disparity"
        self.encoder = Encoder(published.backbone, 6 if self.needs_background else 3)
        self.neck = published.neck
        self.mask_neck = deepcopy(self.neck) if form == "two_decoders" else None
        self.depth_head = published.head
        self.mask_head = type(published.head)(config)
        self.mask_head.activation2 = nn.Identity()
        self.mask_head.max_depth = 1

    def encode(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """The neck's last features, or those of the encoder if each task has a neck of its own.

        Raises:
            UserError: The network takes backgrounds, but there is none.
        """
        features: list[Tensor] = self.encoder(stack_inputs(image, background, self.inputs))
        return [fused(self.neck, features)] if self.mask_neck is None else features

    def decode(self, features: list[Tensor]) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
        """Mask logits and raw depth."""
        if self.mask_neck is None:
            of_mask = of_depth = features[0]
        else:
            of_mask, of_depth = fused(self.mask_neck, features), fused(self.neck, features)
        h, w = (side // FUSED for side in of_depth.shape[2:])
        return self.mask_head([of_mask], h, w)[:, None], self.depth_head([of_depth], h, w)[:, None]


def fused(neck: Any, features: list[Float[Tensor, "B D h w"]]) -> Float[Tensor, "B F 8*h 8*w"]:
    """The last features of transformers' neck, which takes tokens and drops the first, the class token."""
    B, D, h, w = features[0].shape
    none = features[0].new_zeros(B, 1, D)
    tokens = [torch.cat([none, feature.flatten(2).transpose(1, 2)], dim=1) for feature in features]
    return neck(tokens, h, w)[-1]  # type: ignore[no-any-return]


def licence(params: Params) -> str | None:
    """The licence of the published weights of that size and version; those of V1 are free in every size."""
    size, version = (getattr(params, name) for name in ("size", "version"))
    return None if size == "tiny" else FREE if version == "v1" else SIZES[size].licence


@models.register(
    "depth_anything",
    source="Yang et al. 2024 (Depth Anything V1 and V2); transformers",
    licence=licence,
    fixed_size="its position embeddings are resized to the pictures' size, which is a number while the graph is traced",
    weights_files=weights_files,
    requires=("transformers",),
    auto=False,
    tested={"size": "tiny"},
)
def depth_anything(
    *,
    checkpoint: Checkpoint = NONE,
    size: Size = "small",
    version: Version = "v2",
    max_depth: Annotated[int, Field(ge=1, le=1000)] | None = None,
    form: Annotated[Literal["shared", "two_decoders"], Choice("shared", "two_decoders")] = "shared",
    inputs: Inputs = "image+background",
) -> DepthAnything:
    """Depth Anything: a foundation model of depth (DINOv2 and DPT) with a mask head beside its depth head.

    Needs the extra `depth` (transformers). The configuration, not the checkpoint, says what network it is, so that a
    trained run needs the checkpoint no more; where the two differ, the message says what to write. The published
    checkpoints of V2 are Apache-2.0 (small) and CC-BY-NC-4.0 (base, large): those of base and large must not be used
    commercially. V1 is Apache-2.0. Its outputs are made depth by `depth_link: auto`: disparity by `inverse`, whose
    scale is fitted to the first training samples, and metres as they are. `model: auto` in a study leaves it out, as
    it is of use with a checkpoint only.

    Args:
        checkpoint: The folder of a Hugging Face checkpoint: config.json, model.safetensors and, for its mean and
            deviation of colours, preprocessor_config.json; nothing is downloaded. `none`: random weights.
        size: `small`, `base` and `large` as published, with 25, 97 and 335 million parameters. `tiny` is no published
            one: five layers of 32 channels, for tests.
        version: Which layers' features the neck takes: the last four (`v1`) or some at equal distances (`v2`).
        max_depth: Of metric checkpoints, the greatest depth in metres: 20 for those of rooms, 80 of streets. Null:
            disparity, as in the checkpoints of relative depth.
        form: What mask and depth share: `shared` the backbone and the neck, with a head for each; `two_decoders` the
            backbone; the mask's neck starts as a copy of the depth's.
        inputs: Which pictures it looks at; `image` is what it was trained with.

    Raises:
        UserError: The extra is not installed, or the checkpoint is missing, cannot be read, or is of another network.
    """
    config = configuration(size, version, max_depth)
    net = DepthAnything(loaded(checkpoint, config), form, inputs)
    net.colours = colours(checkpoint)
    leave_out_unused(net)
    return net
