"""A network's form is made once, and again only for another device or precision."""

from __future__ import annotations

import pytest
import torch

from inference_networks import CPU, assert_same, random_image, random_network, single_pass
from unetseg.inference import Engine, predict
from unetseg.inference.fused import FusedUNet
from unetseg.inference.memory import Attempt
from unetseg.inference.quantised import QuantisedUNet, activation_names
from unetseg.networks import UNet3d

PATCH = (8, 8, 8)
FLOAT32, BFLOAT16, UINT8 = (
    Attempt(CPU, 2**30, precision=each) for each in (torch.float32, torch.bfloat16, torch.uint8)
)


def network(norm="batch"):
    return random_network("unet_3d", norm=norm, pooling=((2, 2, 2),))


def test_a_form_is_kept_for_the_next_image_until_another_is_needed():
    engine = Engine(network(), patch_size=PATCH)
    first = engine.form(FLOAT32)
    assert engine.form(Attempt(CPU, 2**20)) is first
    rounded = engine.form(BFLOAT16)
    assert {tensor.dtype for tensor in rounded.buffers()} == {torch.bfloat16}
    assert engine.form(FLOAT32) is not first


@pytest.mark.parametrize(
    ("norm", "attempt", "kind"),
    [("batch", FLOAT32, FusedUNet), ("batch", UINT8, QuantisedUNet), ("instance", FLOAT32, UNet3d)],
)
def test_the_form_fits_network_and_precision(norm, attempt, kind):
    own = network(norm)
    engine = Engine(own, patch_size=PATCH, ranges=dict.fromkeys(activation_names(own), 1.0))
    assert type(engine.form(attempt)) is kind
    assert engine.form(attempt) is not own


def test_images_of_several_sizes_are_predicted_by_one_form():
    own = network()
    engine = Engine(own, patch_size=PATCH)
    forms = set()
    for shape in ((9, 8, 7), (20, 6, 11), (9, 8, 7)):
        image = random_image(*shape)
        assert_same(torch.cat([slab for _, slab in predict(engine, image, device=CPU)], 1), single_pass(own, image))
        forms.add(id(engine.form(FLOAT32)))
    assert len(forms) == 1
