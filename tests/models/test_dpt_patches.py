"""DPT with encoders whose patches have 14 pixels, as DINOv2's, beside those of 16."""

from functools import partial

import pytest
import segmentation_models_pytorch
import timm
import torch
from torch import nn

from dmx.models import DepthMaskModel, make_link
from dmx.models.smp import dpt
from dmx.quartet import DepthSpec

ROOM = DepthSpec("metric", 0.5, 8.0)
TINY = {"embed_dim": 24, "num_heads": 2, "depth": 4}  # of the named form, but narrow and shallow


@pytest.fixture
def narrow(monkeypatch):
    """timm's transformers, a sixteenth as wide and four blocks deep, and a narrow decoder."""
    library = segmentation_models_pytorch
    channels = {"decoder_intermediate_channels": (8, 8, 16, 16), "decoder_fusion_channels": 16}
    monkeypatch.setattr(library, "DPT", partial(library.DPT, **channels))
    create = timm.create_model

    def created(name, **arguments):
        return create(name, **arguments, **TINY)

    monkeypatch.setattr(timm, "create_model", created)


ENCODERS = [
    ("tu-vit_small_patch14_dinov2", 14, 28),
    ("tu-vit_small_patch14_reg4_dinov2", 14, 28),
    ("tu-vit_small_patch16_224", 16, 32),
    ("tu-vit_small_patch16_dinov3", 16, 32),
    ("tu-vit_small_patch8_224", 8, 32),
    ("tu-vit_small_patch32_224", 32, 32),
]


@pytest.mark.parametrize(("encoder", "patch", "multiple"), ENCODERS)
def test_patches_of_every_size_give_maps_of_the_pictures_size(narrow, encoder, patch, multiple):
    net = dpt(encoder=encoder, inputs="image").eval()
    assert (net.encoder.output_stride, net.multiple) == (patch, multiple)
    model = DepthMaskModel(net, make_link("sigmoid", ROOM))
    for size in ((multiple, 3 * multiple), (50, 75), (15, 31)):
        with torch.no_grad():
            found = model(torch.rand(2, 3, *size), None)
        assert found.depth.shape == found.mask_logits.shape == (2, 1, *size)
        assert found.depth.isfinite().all()


@pytest.mark.parametrize("encoder", ["tu-vit_small_patch14_dinov2", "tu-vit_small_patch14_reg4_dinov2"])
def test_its_encoder_gives_timms_own_tokens(narrow, encoder):
    net = dpt(encoder=encoder, inputs="image").eval()
    theirs = timm.create_model(encoder.removeprefix("tu-"), pretrained=False, dynamic_img_size=True, num_classes=0)
    missing = theirs.load_state_dict(net.encoder.model.state_dict(), strict=False)
    assert ([name for name in missing.missing_keys if not name.startswith("norm.")], missing.unexpected_keys) == (
        [],
        [],
    )
    image = torch.rand(1, 3, 56, 84)
    with torch.no_grad():
        features, tokens = net.encoder(image)
        wanted = theirs.eval().forward_intermediates(
            image, indices=[0, 1, 2, 3], return_prefix_tokens=True, intermediates_only=True, norm=False
        )
    for feature, prefix, (places, first) in zip(features, tokens, wanted, strict=True):
        assert feature.shape == (1, 24, 4, 6)
        assert torch.equal(feature, places)
        assert torch.equal(prefix, first)


@pytest.mark.parametrize("form", ["shared", "two_decoders"])
def test_it_learns_with_patches_of_14(narrow, form):
    torch.manual_seed(0)
    net = dpt(encoder="tu-vit_small_patch14_dinov2", inputs="image", form=form)
    model = DepthMaskModel(net, make_link("sigmoid", ROOM)).train()
    image = torch.rand(4, 3, 56, 84)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        found = model(image, None)
        loss = (found.depth - 2).abs().mean() + nn.functional.softplus(found.mask_logits).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
