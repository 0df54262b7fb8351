"""Each way in which a training convolves is compared with torch's convolution in float64: output and gradients."""

import pytest
import torch
from torch.nn import functional

from unetseg.training.convolution import convolve

SHAPES = {
    "an image of one channel": ((2, 1, 5, 6, 7), 4, (1, 0, 1)),
    "a flat image of one channel": ((3, 1, 6, 7), 4, (1, 1)),
    "a single sample": ((1, 5, 4, 6, 5), 3, (0, 1, 1)),
    "a single flat sample": ((1, 5, 6, 5), 3, (1, 0)),
    "several samples": ((2, 5, 4, 6, 5), 3, (1, 1, 1)),
    "wide": ((2, 32, 12, 13, 14), 33, (1, 0, 1)),
}


def results(dtype: torch.dtype, name: str, function) -> list[torch.Tensor]:
    shape, features, padding = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    sizes = shape, (features, shape[1], *[3] * len(padding)), (features,)
    x, weight, bias = (torch.randn(size, generator=generator).to(dtype).requires_grad_() for size in sizes)
    if shape[1] == 1:
        x = x.detach()
    y = function(x, weight, bias, padding)
    y.relu_().square().mean().backward()
    return [y.detach(), *(tensor.grad for tensor in (x, weight, bias) if tensor.requires_grad)]


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_the_convolution(name):
    plain = {4: functional.conv2d, 5: functional.conv3d}[len(SHAPES[name][0])]
    exact = results(torch.float64, name, lambda *of: plain(*of[:3], padding=of[3]))
    found = results(torch.float32, name, convolve)
    assert len(found) == len(exact)
    for value, expected in zip(found, exact, strict=True):
        assert value.shape == expected.shape
        assert (value - expected).abs().max() < 1e-5 * expected.abs().max()


def test_of_an_image_the_output_is_channels_last():
    y = convolve(torch.zeros(1, 1, 4, 5, 6), torch.zeros(3, 1, 3, 3, 3), torch.arange(3.0), (1, 1, 1))
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    assert y[0, :, 1, 2, 3].tolist() == [0, 1, 2]
